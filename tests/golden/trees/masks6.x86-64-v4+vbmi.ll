define internal void @planes(ptr %tables, ptr %row, ptr %planes) nounwind "no-builtins" "prefer-vector-width"="512" {
entry:
  %slot7 = alloca ptr
  %slot11 = alloca ptr
  %slot15 = alloca i64
  %slot28 = alloca i64
  %slot33 = alloca i64
  %slot57 = alloca i64
  br label %start
start:
  %v1 = getelementptr i64, ptr %tables, i64 9
  %v2 = load i64, ptr %v1, align 8
  %v3 = getelementptr i8, ptr %tables, i64 %v2
  %v4 = getelementptr i64, ptr %tables, i64 21
  %v5 = load i64, ptr %v4, align 8
  %v6 = getelementptr i8, ptr %tables, i64 %v5
  store ptr %v6, ptr %slot7
  %v8 = getelementptr i64, ptr %tables, i64 8
  %v9 = load i64, ptr %v8, align 8
  %v10 = getelementptr i8, ptr %tables, i64 %v9
  store ptr %planes, ptr %slot11
  %v12 = getelementptr i64, ptr %tables, i64 4
  %v13 = load i64, ptr %v12, align 8
  store i64 0, ptr %slot15
  br label %loop14
loop14:
  %v16 = load i64, ptr %slot15, align 1
  %v17 = icmp slt i64 %v16, %v13
  br i1 %v17, label %loop14.body, label %loop14.end
loop14.body:
  %v18 = mul i64 %v16, 8
  %v19 = getelementptr i32, ptr %v10, i64 %v18
  %v20 = getelementptr i32, ptr %v19, i64 0
  %v21 = load i32, ptr %v20, align 1
  %v22 = sext i32 %v21 to i64
  %v23 = getelementptr float, ptr %row, i64 %v22
  %v24 = load float, ptr %v23, align 4
  %v25 = insertelement <16 x float> poison, float %v24, i64 0
  %v26 = shufflevector <16 x float> %v25, <16 x float> poison, <16 x i32> <i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0>
  %v27 = fcmp uno float %v24, %v24
  store i64 0, ptr %slot28
  %v29 = getelementptr i32, ptr %v19, i64 1
  %v30 = load i32, ptr %v29, align 1
  %v31 = sext i32 %v30 to i64
  store i64 0, ptr %slot33
  br label %loop32
loop32:
  %v34 = load i64, ptr %slot33, align 1
  %v35 = icmp slt i64 %v34, %v31
  br i1 %v35, label %loop32.body, label %loop32.end
loop32.body:
  %v36 = add i64 %v34, 3
  %v37 = getelementptr i32, ptr %v19, i64 %v36
  %v38 = load i32, ptr %v37, align 1
  %v39 = sext i32 %v38 to i64
  %v40 = getelementptr <16 x float>, ptr %v3, i64 %v39
  %v41 = load i64, ptr %slot28, align 1
  %v42 = getelementptr <16 x float>, ptr %v40, i64 %v41
  %v43 = load <16 x float>, ptr %v42, align 64
  %v44 = shl i64 %v41, 4
  %v45 = fcmp oge <16 x float> %v26, %v43
  %v46 = bitcast <16 x i1> %v45 to i16
  %v47 = call i16 @llvm.ctpop.i16(i16 %v46)
  %v48 = zext i16 %v47 to i64
  %v49 = add i64 %v44, %v48
  store i64 %v49, ptr %slot28, align 1
  %v50 = add i64 %v34, 1
  store i64 %v50, ptr %slot33, align 1
  br label %loop32
loop32.end:
  %v51 = load ptr, ptr %slot7, align 1
  %v52 = getelementptr i32, ptr %v51, i64 1
  store ptr %v52, ptr %slot7, align 1
  %v53 = getelementptr i32, ptr %v51, i64 0
  %v54 = load i32, ptr %v53, align 1
  %v55 = sext i32 %v54 to i64
  store i64 0, ptr %slot57
  br label %loop56
loop56:
  %v58 = load i64, ptr %slot57, align 1
  %v59 = icmp slt i64 %v58, %v55
  br i1 %v59, label %loop56.body, label %loop56.end
loop56.body:
  %v60 = load ptr, ptr %slot7, align 1
  %v61 = getelementptr i32, ptr %v60, i64 1
  store ptr %v61, ptr %slot7, align 1
  %v62 = getelementptr i32, ptr %v60, i64 0
  %v63 = load i32, ptr %v62, align 1
  %v64 = sext i32 %v63 to i64
  %v65 = load ptr, ptr %slot7, align 1
  %v66 = getelementptr i32, ptr %v65, i64 1
  store ptr %v66, ptr %slot7, align 1
  %v67 = getelementptr i32, ptr %v65, i64 0
  %v68 = load i32, ptr %v67, align 1
  %v69 = sext i32 %v68 to i64
  %v70 = load i64, ptr %slot28, align 1
  %v71 = sub i64 %v70, %v64
  %v72 = call i64 @llvm.smax.i64(i64 %v71, i64 0)
  %v73 = call i64 @llvm.smin.i64(i64 %v72, i64 255)
  %v74 = select i1 %v27, i64 %v69, i64 %v73
  %v75 = load ptr, ptr %slot11, align 1
  %v76 = trunc i64 %v74 to i8
  store i8 %v76, ptr %v75, align 1
  %v77 = getelementptr i8, ptr %v75, i64 1
  store ptr %v77, ptr %slot11, align 1
  %v78 = add i64 %v58, 1
  store i64 %v78, ptr %slot57, align 1
  br label %loop56
loop56.end:
  %v79 = add i64 %v16, 1
  store i64 %v79, ptr %slot15, align 1
  br label %loop14
loop14.end:
  ret void
}

define internal void @masks(ptr %tables, ptr %planes, ptr %masks, i64 %trees) nounwind "no-builtins" "prefer-vector-width"="512" {
entry:
  %slot9 = alloca i64
  br label %start
start:
  %v1 = getelementptr i8, ptr %planes, i64 0
  %v2 = load <64 x i8>, ptr %v1, align 64
  %v3 = getelementptr i8, ptr %planes, i64 64
  %v4 = load <64 x i8>, ptr %v3, align 64
  %v5 = getelementptr i64, ptr %tables, i64 19
  %v6 = load i64, ptr %v5, align 8
  %v7 = getelementptr i8, ptr %tables, i64 %v6
  store i64 0, ptr %slot9
  br label %loop8
loop8:
  %v10 = load i64, ptr %slot9, align 1
  %v11 = icmp slt i64 %v10, %trees
  br i1 %v11, label %loop8.body, label %loop8.end
loop8.body:
  %v12 = add i64 %v10, 0
  %v13 = mul i64 %v12, 128
  %v14 = getelementptr i8, ptr %v7, i64 %v13
  %v15 = getelementptr i8, ptr %v14, i64 0
  %v16 = load <64 x i8>, ptr %v15, align 64
  %v17 = getelementptr i8, ptr %v14, i64 64
  %v18 = load <64 x i8>, ptr %v17, align 64
  %v19 = call <64 x i8> @llvm.x86.avx512.vpermi2var.qi.512(<64 x i8> %v2, <64 x i8> %v16, <64 x i8> %v4)
  %v20 = icmp uge <64 x i8> %v19, %v18
  %v21 = bitcast <64 x i1> %v20 to i64
  %v22 = getelementptr i64, ptr %masks, i64 %v12
  store i64 %v21, ptr %v22, align 8
  %v23 = add i64 %v10, 1
  %v24 = mul i64 %v23, 128
  %v25 = getelementptr i8, ptr %v7, i64 %v24
  %v26 = getelementptr i8, ptr %v25, i64 0
  %v27 = load <64 x i8>, ptr %v26, align 64
  %v28 = getelementptr i8, ptr %v25, i64 64
  %v29 = load <64 x i8>, ptr %v28, align 64
  %v30 = call <64 x i8> @llvm.x86.avx512.vpermi2var.qi.512(<64 x i8> %v2, <64 x i8> %v27, <64 x i8> %v4)
  %v31 = icmp uge <64 x i8> %v30, %v29
  %v32 = bitcast <64 x i1> %v31 to i64
  %v33 = getelementptr i64, ptr %masks, i64 %v23
  store i64 %v32, ptr %v33, align 8
  %v34 = add i64 %v10, 2
  %v35 = mul i64 %v34, 128
  %v36 = getelementptr i8, ptr %v7, i64 %v35
  %v37 = getelementptr i8, ptr %v36, i64 0
  %v38 = load <64 x i8>, ptr %v37, align 64
  %v39 = getelementptr i8, ptr %v36, i64 64
  %v40 = load <64 x i8>, ptr %v39, align 64
  %v41 = call <64 x i8> @llvm.x86.avx512.vpermi2var.qi.512(<64 x i8> %v2, <64 x i8> %v38, <64 x i8> %v4)
  %v42 = icmp uge <64 x i8> %v41, %v40
  %v43 = bitcast <64 x i1> %v42 to i64
  %v44 = getelementptr i64, ptr %masks, i64 %v34
  store i64 %v43, ptr %v44, align 8
  %v45 = add i64 %v10, 3
  %v46 = mul i64 %v45, 128
  %v47 = getelementptr i8, ptr %v7, i64 %v46
  %v48 = getelementptr i8, ptr %v47, i64 0
  %v49 = load <64 x i8>, ptr %v48, align 64
  %v50 = getelementptr i8, ptr %v47, i64 64
  %v51 = load <64 x i8>, ptr %v50, align 64
  %v52 = call <64 x i8> @llvm.x86.avx512.vpermi2var.qi.512(<64 x i8> %v2, <64 x i8> %v49, <64 x i8> %v4)
  %v53 = icmp uge <64 x i8> %v52, %v51
  %v54 = bitcast <64 x i1> %v53 to i64
  %v55 = getelementptr i64, ptr %masks, i64 %v45
  store i64 %v54, ptr %v55, align 8
  %v56 = add i64 %v10, 4
  store i64 %v56, ptr %slot9, align 1
  br label %loop8
loop8.end:
  ret void
}

define internal void @row(ptr %tables, ptr %row, ptr %margins, ptr %scratch) nounwind "no-builtins" "prefer-vector-width"="512" {
entry:
  %slot12 = alloca i64
  %slot47 = alloca float
  %slot51 = alloca ptr
  %slot56 = alloca i64
  %slot70 = alloca i64
  br label %start
start:
  %v1 = getelementptr i64, ptr %tables, i64 23
  %v2 = load i64, ptr %v1, align 8
  %v3 = getelementptr i8, ptr %scratch, i64 %v2
  %v4 = getelementptr i64, ptr %tables, i64 28
  %v5 = load i64, ptr %v4, align 8
  %v6 = getelementptr i8, ptr %scratch, i64 %v5
  %v7 = getelementptr i64, ptr %tables, i64 6
  %v8 = load i64, ptr %v7, align 8
  %v9 = add i64 %v8, 7
  %v10 = and i64 %v9, -8
  call void @planes(ptr %tables, ptr %row, ptr %v3)
  call void @masks(ptr %tables, ptr %v3, ptr %v6, i64 %v10)
  store i64 0, ptr %slot12
  br label %loop11
loop11:
  %v13 = load i64, ptr %slot12, align 1
  %v14 = icmp slt i64 %v13, %v10
  br i1 %v14, label %loop11.body, label %loop11.end
loop11.body:
  %v15 = getelementptr i64, ptr %v6, i64 %v13
  %v16 = load <8 x i64>, ptr %v15, align 64
  %v17 = lshr <8 x i64> %v16, <i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1>
  %v18 = and <8 x i64> %v17, <i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1>
  %v19 = shl <8 x i64> <i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1>, <i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1>
  %v20 = or <8 x i64> %v19, %v18
  %v21 = lshr <8 x i64> %v16, %v20
  %v22 = and <8 x i64> %v21, <i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1>
  %v23 = shl <8 x i64> %v20, <i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1>
  %v24 = or <8 x i64> %v23, %v22
  %v25 = lshr <8 x i64> %v16, %v24
  %v26 = and <8 x i64> %v25, <i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1>
  %v27 = shl <8 x i64> %v24, <i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1>
  %v28 = or <8 x i64> %v27, %v26
  %v29 = lshr <8 x i64> %v16, %v28
  %v30 = and <8 x i64> %v29, <i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1>
  %v31 = shl <8 x i64> %v28, <i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1>
  %v32 = or <8 x i64> %v31, %v30
  %v33 = lshr <8 x i64> %v16, %v32
  %v34 = and <8 x i64> %v33, <i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1>
  %v35 = shl <8 x i64> %v32, <i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1>
  %v36 = or <8 x i64> %v35, %v34
  %v37 = lshr <8 x i64> %v16, %v36
  %v38 = and <8 x i64> %v37, <i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1>
  %v39 = shl <8 x i64> %v36, <i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1>
  %v40 = or <8 x i64> %v39, %v38
  %v41 = sub <8 x i64> %v40, <i64 64, i64 64, i64 64, i64 64, i64 64, i64 64, i64 64, i64 64>
  store <8 x i64> %v41, ptr %v15, align 64
  %v42 = add i64 %v13, 8
  store i64 %v42, ptr %slot12, align 1
  br label %loop11
loop11.end:
  %v43 = getelementptr i64, ptr %tables, i64 15
  %v44 = load i64, ptr %v43, align 8
  %v45 = getelementptr i8, ptr %tables, i64 %v44
  %v46 = load float, ptr %v45, align 4
  store float %v46, ptr %slot47
  %v48 = getelementptr i64, ptr %tables, i64 18
  %v49 = load i64, ptr %v48, align 8
  %v50 = getelementptr i8, ptr %tables, i64 %v49
  store ptr %v50, ptr %slot51
  %v52 = getelementptr i64, ptr %tables, i64 19
  %v53 = load i64, ptr %v52, align 8
  %v54 = getelementptr i8, ptr %tables, i64 %v53
  store i64 0, ptr %slot56
  br label %loop55
loop55:
  %v57 = load i64, ptr %slot56, align 1
  %v58 = icmp slt i64 %v57, %v8
  br i1 %v58, label %loop55.body, label %loop55.end
loop55.body:
  %v59 = getelementptr i64, ptr %v6, i64 %v57
  %v60 = load i64, ptr %v59, align 8
  %v61 = getelementptr i64, ptr %tables, i64 20
  %v62 = load i64, ptr %v61, align 8
  %v63 = getelementptr i8, ptr %tables, i64 %v62
  %v64 = load ptr, ptr %slot51, align 1
  %v65 = getelementptr i32, ptr %v64, i64 1
  store ptr %v65, ptr %slot51, align 1
  %v66 = getelementptr i32, ptr %v64, i64 0
  %v67 = load i32, ptr %v66, align 1
  %v68 = sext i32 %v67 to i64
  store i64 0, ptr %slot70
  br label %loop69
loop69:
  %v71 = load i64, ptr %slot70, align 1
  %v72 = icmp slt i64 %v71, %v68
  br i1 %v72, label %loop69.body, label %loop69.end
loop69.body:
  %v73 = load ptr, ptr %slot51, align 1
  %v74 = getelementptr i32, ptr %v73, i64 1
  store ptr %v74, ptr %slot51, align 1
  %v75 = getelementptr i32, ptr %v73, i64 0
  %v76 = load i32, ptr %v75, align 1
  %v77 = sext i32 %v76 to i64
  %v78 = load ptr, ptr %slot51, align 1
  %v79 = getelementptr i32, ptr %v78, i64 1
  store ptr %v79, ptr %slot51, align 1
  %v80 = getelementptr i32, ptr %v78, i64 0
  %v81 = load i32, ptr %v80, align 1
  %v82 = sext i32 %v81 to i64
  %v83 = add i64 %v82, %v60
  %v84 = getelementptr float, ptr %v63, i64 %v83
  %v85 = load float, ptr %v84, align 4
  %v86 = load float, ptr %slot47, align 1
  %v87 = fadd float %v86, %v85
  store float %v87, ptr %slot47, align 1
  %v88 = add i64 %v71, 1
  store i64 %v88, ptr %slot70, align 1
  br label %loop69
loop69.end:
  %v89 = add i64 %v57, 1
  store i64 %v89, ptr %slot56, align 1
  br label %loop55
loop55.end:
  %v90 = load float, ptr %slot47, align 1
  store float %v90, ptr %margins, align 4
  ret void
}
