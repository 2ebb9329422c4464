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
  %v13 = mul i64 %v12, 640
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
  %v24 = mul i64 %v23, 640
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
  %v35 = mul i64 %v34, 640
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
  %v46 = mul i64 %v45, 640
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
  %slot49 = alloca i64
  %slot59 = alloca ptr
  %slot64 = alloca i64
  %slot108 = alloca i64
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
  %v46 = getelementptr i64, ptr %tables, i64 3
  %v47 = load i64, ptr %v46, align 8
  store i64 0, ptr %slot49
  br label %loop48
loop48:
  %v50 = load i64, ptr %slot49, align 1
  %v51 = icmp slt i64 %v50, %v47
  br i1 %v51, label %loop48.body, label %loop48.end
loop48.body:
  %v52 = getelementptr float, ptr %v45, i64 %v50
  %v53 = load float, ptr %v52, align 4
  %v54 = getelementptr float, ptr %margins, i64 %v50
  store float %v53, ptr %v54, align 4
  %v55 = add i64 %v50, 1
  store i64 %v55, ptr %slot49, align 1
  br label %loop48
loop48.end:
  %v56 = getelementptr i64, ptr %tables, i64 18
  %v57 = load i64, ptr %v56, align 8
  %v58 = getelementptr i8, ptr %tables, i64 %v57
  store ptr %v58, ptr %slot59
  %v60 = getelementptr i64, ptr %tables, i64 19
  %v61 = load i64, ptr %v60, align 8
  %v62 = getelementptr i8, ptr %tables, i64 %v61
  store i64 0, ptr %slot64
  br label %loop63
loop63:
  %v65 = load i64, ptr %slot64, align 1
  %v66 = icmp slt i64 %v65, %v8
  br i1 %v66, label %loop63.body, label %loop63.end
loop63.body:
  %v67 = getelementptr i64, ptr %v6, i64 %v65
  %v68 = load i64, ptr %v67, align 8
  %v69 = mul i64 %v65, 640
  %v70 = getelementptr i8, ptr %v62, i64 %v69
  %v71 = getelementptr i8, ptr %v70, i64 128
  %v72 = mul i64 %v68, 8
  %v73 = getelementptr i8, ptr %v71, i64 %v72
  %v74 = getelementptr i8, ptr %v73, i64 0
  %v75 = load i8, ptr %v74, align 1
  %v76 = getelementptr i8, ptr %v73, i64 1
  %v77 = load i8, ptr %v76, align 1
  %v78 = zext i8 %v75 to i64
  %v79 = getelementptr i8, ptr %v3, i64 %v78
  %v80 = load i8, ptr %v79, align 1
  %v81 = icmp uge i8 %v80, %v77
  %v82 = zext i1 %v81 to i64
  %v83 = mul i64 %v82, 2
  %v84 = add i64 %v83, 2
  %v85 = getelementptr i8, ptr %v73, i64 %v84
  %v86 = getelementptr i8, ptr %v85, i64 0
  %v87 = load i8, ptr %v86, align 1
  %v88 = getelementptr i8, ptr %v85, i64 1
  %v89 = load i8, ptr %v88, align 1
  %v90 = zext i8 %v87 to i64
  %v91 = getelementptr i8, ptr %v3, i64 %v90
  %v92 = load i8, ptr %v91, align 1
  %v93 = icmp uge i8 %v92, %v89
  %v94 = zext i1 %v93 to i64
  %v95 = mul i64 %v68, 4
  %v96 = mul i64 %v82, 2
  %v97 = add i64 %v96, %v94
  %v98 = add i64 %v95, %v97
  %v99 = getelementptr i64, ptr %tables, i64 20
  %v100 = load i64, ptr %v99, align 8
  %v101 = getelementptr i8, ptr %tables, i64 %v100
  %v102 = load ptr, ptr %slot59, align 1
  %v103 = getelementptr i32, ptr %v102, i64 1
  store ptr %v103, ptr %slot59, align 1
  %v104 = getelementptr i32, ptr %v102, i64 0
  %v105 = load i32, ptr %v104, align 1
  %v106 = sext i32 %v105 to i64
  store i64 0, ptr %slot108
  br label %loop107
loop107:
  %v109 = load i64, ptr %slot108, align 1
  %v110 = icmp slt i64 %v109, %v106
  br i1 %v110, label %loop107.body, label %loop107.end
loop107.body:
  %v111 = load ptr, ptr %slot59, align 1
  %v112 = getelementptr i32, ptr %v111, i64 1
  store ptr %v112, ptr %slot59, align 1
  %v113 = getelementptr i32, ptr %v111, i64 0
  %v114 = load i32, ptr %v113, align 1
  %v115 = sext i32 %v114 to i64
  %v116 = load ptr, ptr %slot59, align 1
  %v117 = getelementptr i32, ptr %v116, i64 1
  store ptr %v117, ptr %slot59, align 1
  %v118 = getelementptr i32, ptr %v116, i64 0
  %v119 = load i32, ptr %v118, align 1
  %v120 = sext i32 %v119 to i64
  %v121 = add i64 %v120, %v98
  %v122 = getelementptr float, ptr %v101, i64 %v121
  %v123 = load float, ptr %v122, align 4
  %v124 = getelementptr float, ptr %margins, i64 %v115
  %v125 = load float, ptr %v124, align 4
  %v126 = fadd float %v125, %v123
  store float %v126, ptr %v124, align 4
  %v127 = add i64 %v109, 1
  store i64 %v127, ptr %slot108, align 1
  br label %loop107
loop107.end:
  %v128 = add i64 %v65, 1
  store i64 %v128, ptr %slot64, align 1
  br label %loop63
loop63.end:
  ret void
}
