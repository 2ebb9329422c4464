; walk: as on x86-64-v2

; walk_rows: as on x86-64-v2

; add_walked: as on x86-64-v2

define internal void @trees(ptr %tables, ptr %words_at, ptr %leaves_at, i64 %count, ptr %lines, ptr %sums, ptr %numbers, ptr %rows, i64 %n) nounwind "no-builtins" "prefer-vector-width"="512" {
entry:
  %slot2 = alloca ptr
  %slot4 = alloca ptr
  %slot6 = alloca i64
  %slot34 = alloca i64
  br label %start
start:
  %v1 = load ptr, ptr %words_at, align 8
  store ptr %v1, ptr %slot2
  %v3 = load ptr, ptr %leaves_at, align 8
  store ptr %v3, ptr %slot4
  store i64 0, ptr %slot6
  br label %loop5
loop5:
  %v7 = load i64, ptr %slot6, align 1
  %v8 = icmp slt i64 %v7, %count
  br i1 %v8, label %loop5.body, label %loop5.end
loop5.body:
  %v9 = load ptr, ptr %slot2, align 1
  %v10 = getelementptr i32, ptr %v9, i64 1
  store ptr %v10, ptr %slot2, align 1
  %v11 = getelementptr i32, ptr %v9, i64 0
  %v12 = load i32, ptr %v11, align 1
  %v13 = sext i32 %v12 to i64
  %v14 = load ptr, ptr %slot2, align 1
  %v15 = getelementptr i32, ptr %v14, i64 1
  store ptr %v15, ptr %slot2, align 1
  %v16 = getelementptr i32, ptr %v14, i64 0
  %v17 = load i32, ptr %v16, align 1
  %v18 = sext i32 %v17 to i64
  %v19 = load ptr, ptr %slot2, align 1
  %v20 = getelementptr i32, ptr %v19, i64 %v18
  store ptr %v20, ptr %slot2, align 1
  %v21 = icmp eq i64 %v13, 32
  br i1 %v21, label %when22, label %when22.end
when22:
  %v23 = load ptr, ptr %slot2, align 1
  %v24 = getelementptr i32, ptr %v23, i64 1
  store ptr %v24, ptr %slot2, align 1
  %v25 = getelementptr i32, ptr %v23, i64 0
  %v26 = load i32, ptr %v25, align 1
  %v27 = sext i32 %v26 to i64
  %v28 = load ptr, ptr %slot2, align 1
  %v29 = getelementptr i32, ptr %v28, i64 1
  store ptr %v29, ptr %slot2, align 1
  %v30 = getelementptr i32, ptr %v28, i64 0
  %v31 = load i32, ptr %v30, align 1
  %v32 = sext i32 %v31 to i64
  call void @walk_rows(ptr %tables, ptr %rows, i64 %n, i64 %v27, ptr %numbers)
  store i64 0, ptr %slot34
  br label %loop33
loop33:
  %v35 = load i64, ptr %slot34, align 1
  %v36 = icmp slt i64 %v35, %v18
  br i1 %v36, label %loop33.body, label %loop33.end
loop33.body:
  %v37 = getelementptr i32, ptr %v19, i64 %v35
  %v38 = load i32, ptr %v37, align 1
  %v39 = sext i32 %v38 to i64
  %v40 = mul i64 %v39, 2048
  %v41 = getelementptr i8, ptr %sums, i64 %v40
  %v42 = load ptr, ptr %slot4, align 1
  call void @add_walked(ptr %numbers, ptr %v42, ptr %v41, i64 %n)
  %v43 = getelementptr i8, ptr %v42, i64 %v32
  store ptr %v43, ptr %slot4, align 1
  %v44 = add i64 %v35, 1
  store i64 %v44, ptr %slot34, align 1
  br label %loop33
loop33.end:
  br label %when22.end
when22.end:
  %v45 = add i64 %v7, 1
  store i64 %v45, ptr %slot6, align 1
  br label %loop5
loop5.end:
  %v46 = load ptr, ptr %slot2, align 1
  store ptr %v46, ptr %words_at, align 8
  %v47 = load ptr, ptr %slot4, align 1
  store ptr %v47, ptr %leaves_at, align 8
  ret void
}
