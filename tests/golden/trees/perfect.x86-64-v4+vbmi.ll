; ranks: as on x86-64-v4

; lines: as on x86-64-v4

define internal void @add_leaves6(ptr %numbers, ptr %table, ptr %sums) nounwind "no-builtins" "prefer-vector-width"="512" {
entry:
  %slot10 = alloca i64
  br label %start
start:
  %v1 = getelementptr i8, ptr %table, i64 0
  %v2 = load <64 x i8>, ptr %v1, align 64
  %v3 = getelementptr i8, ptr %table, i64 64
  %v4 = load <64 x i8>, ptr %v3, align 64
  %v5 = getelementptr i8, ptr %table, i64 128
  %v6 = load <64 x i8>, ptr %v5, align 64
  %v7 = getelementptr i8, ptr %table, i64 192
  %v8 = load <64 x i8>, ptr %v7, align 64
  store i64 0, ptr %slot10
  br label %loop9
loop9:
  %v11 = load i64, ptr %slot10, align 1
  %v12 = icmp slt i64 %v11, 8
  br i1 %v12, label %loop9.body, label %loop9.end
loop9.body:
  %v13 = mul i64 %v11, 64
  %v14 = getelementptr i8, ptr %numbers, i64 %v13
  %v15 = load <64 x i8>, ptr %v14, align 64
  %v16 = call <64 x i8> @llvm.x86.avx512.permvar.qi.512(<64 x i8> %v2, <64 x i8> %v15)
  %v17 = call <64 x i8> @llvm.x86.avx512.permvar.qi.512(<64 x i8> %v4, <64 x i8> %v15)
  %v18 = call <64 x i8> @llvm.x86.avx512.permvar.qi.512(<64 x i8> %v6, <64 x i8> %v15)
  %v19 = call <64 x i8> @llvm.x86.avx512.permvar.qi.512(<64 x i8> %v8, <64 x i8> %v15)
  %v20 = mul i64 %v11, 256
  %v21 = getelementptr i8, ptr %sums, i64 %v20
  %v22 = shufflevector <64 x i8> %v16, <64 x i8> %v17, <64 x i32> <i32 0, i32 64, i32 1, i32 65, i32 2, i32 66, i32 3, i32 67, i32 4, i32 68, i32 5, i32 69, i32 6, i32 70, i32 7, i32 71, i32 16, i32 80, i32 17, i32 81, i32 18, i32 82, i32 19, i32 83, i32 20, i32 84, i32 21, i32 85, i32 22, i32 86, i32 23, i32 87, i32 32, i32 96, i32 33, i32 97, i32 34, i32 98, i32 35, i32 99, i32 36, i32 100, i32 37, i32 101, i32 38, i32 102, i32 39, i32 103, i32 48, i32 112, i32 49, i32 113, i32 50, i32 114, i32 51, i32 115, i32 52, i32 116, i32 53, i32 117, i32 54, i32 118, i32 55, i32 119>
  %v23 = shufflevector <64 x i8> %v16, <64 x i8> %v17, <64 x i32> <i32 8, i32 72, i32 9, i32 73, i32 10, i32 74, i32 11, i32 75, i32 12, i32 76, i32 13, i32 77, i32 14, i32 78, i32 15, i32 79, i32 24, i32 88, i32 25, i32 89, i32 26, i32 90, i32 27, i32 91, i32 28, i32 92, i32 29, i32 93, i32 30, i32 94, i32 31, i32 95, i32 40, i32 104, i32 41, i32 105, i32 42, i32 106, i32 43, i32 107, i32 44, i32 108, i32 45, i32 109, i32 46, i32 110, i32 47, i32 111, i32 56, i32 120, i32 57, i32 121, i32 58, i32 122, i32 59, i32 123, i32 60, i32 124, i32 61, i32 125, i32 62, i32 126, i32 63, i32 127>
  %v24 = shufflevector <64 x i8> %v18, <64 x i8> %v19, <64 x i32> <i32 0, i32 64, i32 1, i32 65, i32 2, i32 66, i32 3, i32 67, i32 4, i32 68, i32 5, i32 69, i32 6, i32 70, i32 7, i32 71, i32 16, i32 80, i32 17, i32 81, i32 18, i32 82, i32 19, i32 83, i32 20, i32 84, i32 21, i32 85, i32 22, i32 86, i32 23, i32 87, i32 32, i32 96, i32 33, i32 97, i32 34, i32 98, i32 35, i32 99, i32 36, i32 100, i32 37, i32 101, i32 38, i32 102, i32 39, i32 103, i32 48, i32 112, i32 49, i32 113, i32 50, i32 114, i32 51, i32 115, i32 52, i32 116, i32 53, i32 117, i32 54, i32 118, i32 55, i32 119>
  %v25 = shufflevector <64 x i8> %v18, <64 x i8> %v19, <64 x i32> <i32 8, i32 72, i32 9, i32 73, i32 10, i32 74, i32 11, i32 75, i32 12, i32 76, i32 13, i32 77, i32 14, i32 78, i32 15, i32 79, i32 24, i32 88, i32 25, i32 89, i32 26, i32 90, i32 27, i32 91, i32 28, i32 92, i32 29, i32 93, i32 30, i32 94, i32 31, i32 95, i32 40, i32 104, i32 41, i32 105, i32 42, i32 106, i32 43, i32 107, i32 44, i32 108, i32 45, i32 109, i32 46, i32 110, i32 47, i32 111, i32 56, i32 120, i32 57, i32 121, i32 58, i32 122, i32 59, i32 123, i32 60, i32 124, i32 61, i32 125, i32 62, i32 126, i32 63, i32 127>
  %v26 = shufflevector <64 x i8> %v22, <64 x i8> %v24, <64 x i32> <i32 0, i32 1, i32 64, i32 65, i32 2, i32 3, i32 66, i32 67, i32 4, i32 5, i32 68, i32 69, i32 6, i32 7, i32 70, i32 71, i32 16, i32 17, i32 80, i32 81, i32 18, i32 19, i32 82, i32 83, i32 20, i32 21, i32 84, i32 85, i32 22, i32 23, i32 86, i32 87, i32 32, i32 33, i32 96, i32 97, i32 34, i32 35, i32 98, i32 99, i32 36, i32 37, i32 100, i32 101, i32 38, i32 39, i32 102, i32 103, i32 48, i32 49, i32 112, i32 113, i32 50, i32 51, i32 114, i32 115, i32 52, i32 53, i32 116, i32 117, i32 54, i32 55, i32 118, i32 119>
  %v27 = shufflevector <64 x i8> %v22, <64 x i8> %v24, <64 x i32> <i32 8, i32 9, i32 72, i32 73, i32 10, i32 11, i32 74, i32 75, i32 12, i32 13, i32 76, i32 77, i32 14, i32 15, i32 78, i32 79, i32 24, i32 25, i32 88, i32 89, i32 26, i32 27, i32 90, i32 91, i32 28, i32 29, i32 92, i32 93, i32 30, i32 31, i32 94, i32 95, i32 40, i32 41, i32 104, i32 105, i32 42, i32 43, i32 106, i32 107, i32 44, i32 45, i32 108, i32 109, i32 46, i32 47, i32 110, i32 111, i32 56, i32 57, i32 120, i32 121, i32 58, i32 59, i32 122, i32 123, i32 60, i32 61, i32 124, i32 125, i32 62, i32 63, i32 126, i32 127>
  %v28 = shufflevector <64 x i8> %v23, <64 x i8> %v25, <64 x i32> <i32 0, i32 1, i32 64, i32 65, i32 2, i32 3, i32 66, i32 67, i32 4, i32 5, i32 68, i32 69, i32 6, i32 7, i32 70, i32 71, i32 16, i32 17, i32 80, i32 81, i32 18, i32 19, i32 82, i32 83, i32 20, i32 21, i32 84, i32 85, i32 22, i32 23, i32 86, i32 87, i32 32, i32 33, i32 96, i32 97, i32 34, i32 35, i32 98, i32 99, i32 36, i32 37, i32 100, i32 101, i32 38, i32 39, i32 102, i32 103, i32 48, i32 49, i32 112, i32 113, i32 50, i32 51, i32 114, i32 115, i32 52, i32 53, i32 116, i32 117, i32 54, i32 55, i32 118, i32 119>
  %v29 = shufflevector <64 x i8> %v23, <64 x i8> %v25, <64 x i32> <i32 8, i32 9, i32 72, i32 73, i32 10, i32 11, i32 74, i32 75, i32 12, i32 13, i32 76, i32 77, i32 14, i32 15, i32 78, i32 79, i32 24, i32 25, i32 88, i32 89, i32 26, i32 27, i32 90, i32 91, i32 28, i32 29, i32 92, i32 93, i32 30, i32 31, i32 94, i32 95, i32 40, i32 41, i32 104, i32 105, i32 42, i32 43, i32 106, i32 107, i32 44, i32 45, i32 108, i32 109, i32 46, i32 47, i32 110, i32 111, i32 56, i32 57, i32 120, i32 121, i32 58, i32 59, i32 122, i32 123, i32 60, i32 61, i32 124, i32 125, i32 62, i32 63, i32 126, i32 127>
  %v30 = getelementptr i8, ptr %v21, i64 0
  %v31 = bitcast <64 x i8> %v26 to <16 x float>
  %v32 = load <16 x float>, ptr %v30, align 64
  %v33 = fadd <16 x float> %v32, %v31
  store <16 x float> %v33, ptr %v30, align 64
  %v34 = getelementptr i8, ptr %v21, i64 64
  %v35 = bitcast <64 x i8> %v27 to <16 x float>
  %v36 = load <16 x float>, ptr %v34, align 64
  %v37 = fadd <16 x float> %v36, %v35
  store <16 x float> %v37, ptr %v34, align 64
  %v38 = getelementptr i8, ptr %v21, i64 128
  %v39 = bitcast <64 x i8> %v28 to <16 x float>
  %v40 = load <16 x float>, ptr %v38, align 64
  %v41 = fadd <16 x float> %v40, %v39
  store <16 x float> %v41, ptr %v38, align 64
  %v42 = getelementptr i8, ptr %v21, i64 192
  %v43 = bitcast <64 x i8> %v29 to <16 x float>
  %v44 = load <16 x float>, ptr %v42, align 64
  %v45 = fadd <16 x float> %v44, %v43
  store <16 x float> %v45, ptr %v42, align 64
  %v46 = add i64 %v11, 1
  store i64 %v46, ptr %slot10, align 1
  br label %loop9
loop9.end:
  ret void
}

; trees: as on x86-64-v4

; row: as on x86-64-v2

define internal void @block(ptr %tables, ptr %rows, i64 %n, ptr %margins, ptr %scratch) nounwind "no-builtins" "prefer-vector-width"="512" {
entry:
  %slot10 = alloca i64
  %slot18 = alloca i64
  %slot41 = alloca i64
  %slot55 = alloca ptr
  %slot59 = alloca ptr
  %slot63 = alloca ptr
  %slot67 = alloca ptr
  %slot74 = alloca i64
  %slot82 = alloca i64
  %slot99 = alloca i64
  br label %start
start:
  %v1 = getelementptr i64, ptr %tables, i64 22
  %v2 = load i64, ptr %v1, align 8
  %v3 = getelementptr i8, ptr %scratch, i64 %v2
  %v4 = getelementptr i64, ptr %tables, i64 3
  %v5 = load i64, ptr %v4, align 8
  %v6 = getelementptr i64, ptr %tables, i64 15
  %v7 = load i64, ptr %v6, align 8
  %v8 = getelementptr i8, ptr %tables, i64 %v7
  store i64 0, ptr %slot10
  br label %loop9
loop9:
  %v11 = load i64, ptr %slot10, align 1
  %v12 = icmp slt i64 %v11, %v5
  br i1 %v12, label %loop9.body, label %loop9.end
loop9.body:
  %v13 = getelementptr float, ptr %v8, i64 %v11
  %v14 = load float, ptr %v13, align 1
  %v15 = insertelement <16 x float> poison, float %v14, i64 0
  %v16 = shufflevector <16 x float> %v15, <16 x float> poison, <16 x i32> <i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0>
  store i64 0, ptr %slot18
  br label %loop17
loop17:
  %v19 = load i64, ptr %slot18, align 1
  %v20 = icmp slt i64 %v19, 2048
  br i1 %v20, label %loop17.body, label %loop17.end
loop17.body:
  %v21 = mul i64 %v11, 2048
  %v22 = add i64 %v21, %v19
  %v23 = getelementptr i8, ptr %v3, i64 %v22
  store <16 x float> %v16, ptr %v23, align 64
  %v24 = add i64 %v19, 64
  store i64 %v24, ptr %slot18, align 1
  br label %loop17
loop17.end:
  %v25 = add i64 %v11, 1
  store i64 %v25, ptr %slot10, align 1
  br label %loop9
loop9.end:
  %v26 = getelementptr i64, ptr %tables, i64 26
  %v27 = load i64, ptr %v26, align 8
  %v28 = getelementptr i8, ptr %scratch, i64 %v27
  %v29 = getelementptr i64, ptr %tables, i64 27
  %v30 = load i64, ptr %v29, align 8
  %v31 = getelementptr i8, ptr %scratch, i64 %v30
  %v32 = getelementptr i64, ptr %tables, i64 25
  %v33 = load i64, ptr %v32, align 8
  %v34 = getelementptr i8, ptr %scratch, i64 %v33
  %v35 = getelementptr i64, ptr %tables, i64 8
  %v36 = load i64, ptr %v35, align 8
  %v37 = getelementptr i8, ptr %tables, i64 %v36
  %v38 = getelementptr i64, ptr %tables, i64 4
  %v39 = load i64, ptr %v38, align 8
  store i64 0, ptr %slot41
  br label %loop40
loop40:
  %v42 = load i64, ptr %slot41, align 1
  %v43 = icmp slt i64 %v42, %v39
  br i1 %v43, label %loop40.body, label %loop40.end
loop40.body:
  %v44 = mul i64 %v42, 8
  %v45 = getelementptr i32, ptr %v37, i64 %v44
  %v46 = mul i64 %v42, 17
  %v47 = mul i64 %v46, 64
  %v48 = getelementptr i8, ptr %v28, i64 %v47
  call void @ranks(ptr %tables, ptr %rows, i64 %n, ptr %v45, ptr %scratch, ptr %v48)
  %v49 = add i64 %v42, 1
  store i64 %v49, ptr %slot41, align 1
  br label %loop40
loop40.end:
  %v50 = getelementptr i8, ptr %v31, i64 0
  store <8 x i64> <i64 0, i64 0, i64 0, i64 0, i64 0, i64 0, i64 0, i64 0>, ptr %v50, align 64
  %v51 = getelementptr i8, ptr %v31, i64 64
  store <8 x i64> <i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1>, ptr %v51, align 64
  %v52 = getelementptr i64, ptr %tables, i64 11
  %v53 = load i64, ptr %v52, align 8
  %v54 = getelementptr i8, ptr %tables, i64 %v53
  store ptr %v54, ptr %slot55
  %v56 = getelementptr i64, ptr %tables, i64 12
  %v57 = load i64, ptr %v56, align 8
  %v58 = getelementptr i8, ptr %tables, i64 %v57
  store ptr %v58, ptr %slot59
  %v60 = getelementptr i64, ptr %tables, i64 13
  %v61 = load i64, ptr %v60, align 8
  %v62 = getelementptr i8, ptr %tables, i64 %v61
  store ptr %v62, ptr %slot63
  %v64 = getelementptr i64, ptr %tables, i64 14
  %v65 = load i64, ptr %v64, align 8
  %v66 = getelementptr i8, ptr %tables, i64 %v65
  store ptr %v66, ptr %slot67
  %v68 = getelementptr i64, ptr %tables, i64 10
  %v69 = load i64, ptr %v68, align 8
  %v70 = getelementptr i8, ptr %tables, i64 %v69
  %v71 = getelementptr i64, ptr %tables, i64 5
  %v72 = load i64, ptr %v71, align 8
  store i64 0, ptr %slot74
  br label %loop73
loop73:
  %v75 = load i64, ptr %slot74, align 1
  %v76 = icmp slt i64 %v75, %v72
  br i1 %v76, label %loop73.body, label %loop73.end
loop73.body:
  %v77 = getelementptr i32, ptr %v70, i64 %v75
  %v78 = load i32, ptr %v77, align 1
  %v79 = sext i32 %v78 to i64
  call void @lines(ptr %slot55, ptr %slot59, ptr %v28, ptr %v37, ptr %v31)
  call void @trees(ptr %tables, ptr %slot63, ptr %slot67, i64 %v79, ptr %v31, ptr %v3, ptr %v34, ptr %rows, i64 %n)
  %v80 = add i64 %v75, 1
  store i64 %v80, ptr %slot74, align 1
  br label %loop73
loop73.end:
  store i64 0, ptr %slot82
  br label %loop81
loop81:
  %v83 = load i64, ptr %slot82, align 1
  %v84 = icmp slt i64 %v83, %n
  br i1 %v84, label %loop81.body, label %loop81.end
loop81.body:
  %v85 = and i64 %v83, -64
  %v86 = lshr i64 %v83, 4
  %v87 = and i64 %v86, 3
  %v88 = lshr i64 %v83, 2
  %v89 = and i64 %v88, 3
  %v90 = and i64 %v83, 3
  %v91 = mul i64 %v89, 16
  %v92 = add i64 %v85, %v91
  %v93 = mul i64 %v87, 4
  %v94 = add i64 %v92, %v93
  %v95 = add i64 %v94, %v90
  %v96 = mul i64 %v83, %v5
  %v97 = getelementptr float, ptr %margins, i64 %v96
  store i64 0, ptr %slot99
  br label %loop98
loop98:
  %v100 = load i64, ptr %slot99, align 1
  %v101 = icmp slt i64 %v100, %v5
  br i1 %v101, label %loop98.body, label %loop98.end
loop98.body:
  %v102 = mul i64 %v100, 512
  %v103 = add i64 %v102, %v95
  %v104 = getelementptr float, ptr %v3, i64 %v103
  %v105 = load float, ptr %v104, align 1
  %v106 = getelementptr float, ptr %v97, i64 %v100
  store float %v105, ptr %v106, align 4
  %v107 = add i64 %v100, 1
  store i64 %v107, ptr %slot99, align 1
  br label %loop98
loop98.end:
  %v108 = add i64 %v83, 1
  store i64 %v108, ptr %slot82, align 1
  br label %loop81
loop81.end:
  ret void
}

; neoc_trees: as on x86-64-v4
