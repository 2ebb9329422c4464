; walk: as on x86-64-v2

; walk_rows: as on x86-64-v2

define internal void @add_walked(ptr %numbers, ptr %table, ptr %sums, i64 %n) nounwind "no-builtins" "prefer-vector-width"="512" {
entry:
  %slot2 = alloca i64
  br label %start
start:
  store i64 0, ptr %slot2
  br label %loop1
loop1:
  %v3 = load i64, ptr %slot2, align 1
  %v4 = icmp slt i64 %v3, %n
  br i1 %v4, label %loop1.body, label %loop1.end
loop1.body:
  %v5 = getelementptr i32, ptr %numbers, i64 %v3
  %v6 = load i32, ptr %v5, align 1
  %v7 = zext i32 %v6 to i64
  %v8 = and i64 %v3, -64
  %v9 = lshr i64 %v3, 4
  %v10 = and i64 %v9, 3
  %v11 = lshr i64 %v3, 2
  %v12 = and i64 %v11, 3
  %v13 = and i64 %v3, 3
  %v14 = mul i64 %v12, 16
  %v15 = add i64 %v8, %v14
  %v16 = mul i64 %v10, 4
  %v17 = add i64 %v15, %v16
  %v18 = add i64 %v17, %v13
  %v19 = getelementptr float, ptr %table, i64 %v7
  %v20 = load float, ptr %v19, align 4
  %v21 = getelementptr float, ptr %sums, i64 %v18
  %v22 = load float, ptr %v21, align 4
  %v23 = fadd float %v22, %v20
  store float %v23, ptr %v21, align 4
  %v24 = add i64 %v3, 1
  store i64 %v24, ptr %slot2, align 1
  br label %loop1
loop1.end:
  ret void
}

; trees: as on x86-64-v4
