define internal void @lines(ptr %words_at, ptr %entries_at, ptr %bits, ptr %slots, ptr %lines) nounwind "no-builtins" "prefer-vector-width"="512" {
entry:
  %slot1 = alloca [16 x <8 x i64>], align 64
  %slot3 = alloca ptr
  %slot5 = alloca ptr
  %slot7 = alloca ptr
  %slot14 = alloca i64
  %slot93 = alloca i64
  %slot111 = alloca <8 x i64>
  %slot112 = alloca <8 x i64>
  %slot114 = alloca i64
  %slot142 = alloca i64
  %slot164 = alloca i64
  %slot193 = alloca i64
  %slot196 = alloca <8 x i64>
  %slot203 = alloca i64
  br label %start
start:
  %v2 = load ptr, ptr %words_at, align 8
  store ptr %v2, ptr %slot3
  %v4 = load ptr, ptr %entries_at, align 8
  store ptr %v4, ptr %slot5
  %v6 = getelementptr i8, ptr %lines, i64 128
  store ptr %v6, ptr %slot7
  %v8 = load ptr, ptr %slot3, align 1
  %v9 = getelementptr i32, ptr %v8, i64 1
  store ptr %v9, ptr %slot3, align 1
  %v10 = getelementptr i32, ptr %v8, i64 0
  %v11 = load i32, ptr %v10, align 1
  %v12 = sext i32 %v11 to i64
  store i64 0, ptr %slot14
  br label %loop13
loop13:
  %v15 = load i64, ptr %slot14, align 1
  %v16 = icmp slt i64 %v15, %v12
  br i1 %v16, label %loop13.body, label %loop13.end
loop13.body:
  %v17 = load ptr, ptr %slot3, align 1
  %v18 = getelementptr i32, ptr %v17, i64 1
  store ptr %v18, ptr %slot3, align 1
  %v19 = getelementptr i32, ptr %v17, i64 0
  %v20 = load i32, ptr %v19, align 1
  %v21 = sext i32 %v20 to i64
  %v22 = load ptr, ptr %slot3, align 1
  %v23 = getelementptr i32, ptr %v22, i64 1
  store ptr %v23, ptr %slot3, align 1
  %v24 = getelementptr i32, ptr %v22, i64 0
  %v25 = load i32, ptr %v24, align 1
  %v26 = sext i32 %v25 to i64
  %v27 = mul i64 %v21, 17
  %v28 = mul i64 %v27, 64
  %v29 = getelementptr i8, ptr %bits, i64 %v28
  %v30 = getelementptr i8, ptr %v29, i64 0
  %v31 = load <8 x i64>, ptr %v30, align 64
  %v32 = getelementptr i8, ptr %v29, i64 64
  %v33 = load <8 x i64>, ptr %v32, align 64
  %v34 = getelementptr i8, ptr %v29, i64 128
  %v35 = load <8 x i64>, ptr %v34, align 64
  %v36 = getelementptr i8, ptr %v29, i64 192
  %v37 = load <8 x i64>, ptr %v36, align 64
  %v38 = or <8 x i64> %v31, <i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1>
  %v39 = and <8 x i64> %v31, <i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1>
  %v40 = or <8 x i64> %v33, %v38
  %v41 = or <8 x i64> %v33, %v39
  %v42 = and <8 x i64> %v33, %v38
  %v43 = and <8 x i64> %v33, %v39
  %v44 = or <8 x i64> %v35, %v40
  %v45 = or <8 x i64> %v35, %v41
  %v46 = or <8 x i64> %v35, %v42
  %v47 = or <8 x i64> %v35, %v43
  %v48 = and <8 x i64> %v35, %v40
  %v49 = and <8 x i64> %v35, %v41
  %v50 = and <8 x i64> %v35, %v42
  %v51 = and <8 x i64> %v35, %v43
  %v52 = or <8 x i64> %v37, %v44
  %v53 = or <8 x i64> %v37, %v45
  %v54 = or <8 x i64> %v37, %v46
  %v55 = or <8 x i64> %v37, %v47
  %v56 = or <8 x i64> %v37, %v48
  %v57 = or <8 x i64> %v37, %v49
  %v58 = or <8 x i64> %v37, %v50
  %v59 = or <8 x i64> %v37, %v51
  %v60 = and <8 x i64> %v37, %v44
  %v61 = and <8 x i64> %v37, %v45
  %v62 = and <8 x i64> %v37, %v46
  %v63 = and <8 x i64> %v37, %v47
  %v64 = and <8 x i64> %v37, %v48
  %v65 = and <8 x i64> %v37, %v49
  %v66 = and <8 x i64> %v37, %v50
  %v67 = and <8 x i64> %v37, %v51
  %v68 = getelementptr i8, ptr %slot1, i64 0
  store <8 x i64> %v52, ptr %v68, align 64
  %v69 = getelementptr i8, ptr %slot1, i64 64
  store <8 x i64> %v53, ptr %v69, align 64
  %v70 = getelementptr i8, ptr %slot1, i64 128
  store <8 x i64> %v54, ptr %v70, align 64
  %v71 = getelementptr i8, ptr %slot1, i64 192
  store <8 x i64> %v55, ptr %v71, align 64
  %v72 = getelementptr i8, ptr %slot1, i64 256
  store <8 x i64> %v56, ptr %v72, align 64
  %v73 = getelementptr i8, ptr %slot1, i64 320
  store <8 x i64> %v57, ptr %v73, align 64
  %v74 = getelementptr i8, ptr %slot1, i64 384
  store <8 x i64> %v58, ptr %v74, align 64
  %v75 = getelementptr i8, ptr %slot1, i64 448
  store <8 x i64> %v59, ptr %v75, align 64
  %v76 = getelementptr i8, ptr %slot1, i64 512
  store <8 x i64> %v60, ptr %v76, align 64
  %v77 = getelementptr i8, ptr %slot1, i64 576
  store <8 x i64> %v61, ptr %v77, align 64
  %v78 = getelementptr i8, ptr %slot1, i64 640
  store <8 x i64> %v62, ptr %v78, align 64
  %v79 = getelementptr i8, ptr %slot1, i64 704
  store <8 x i64> %v63, ptr %v79, align 64
  %v80 = getelementptr i8, ptr %slot1, i64 768
  store <8 x i64> %v64, ptr %v80, align 64
  %v81 = getelementptr i8, ptr %slot1, i64 832
  store <8 x i64> %v65, ptr %v81, align 64
  %v82 = getelementptr i8, ptr %slot1, i64 896
  store <8 x i64> %v66, ptr %v82, align 64
  %v83 = getelementptr i8, ptr %slot1, i64 960
  store <8 x i64> %v67, ptr %v83, align 64
  %v84 = getelementptr i8, ptr %v29, i64 1024
  %v85 = load <8 x i64>, ptr %v84, align 64
  %v86 = mul i64 %v21, 8
  %v87 = add i64 %v86, 1
  %v88 = getelementptr i32, ptr %slots, i64 %v87
  %v89 = load i32, ptr %v88, align 1
  %v90 = icmp sgt i32 %v89, 2
  %v91 = select i1 %v90, i64 16, i64 8
  store i64 0, ptr %slot93
  br label %loop92
loop92:
  %v94 = load i64, ptr %slot93, align 1
  %v95 = icmp slt i64 %v94, %v26
  br i1 %v95, label %loop92.body, label %loop92.end
loop92.body:
  %v96 = load ptr, ptr %slot3, align 1
  %v97 = getelementptr i32, ptr %v96, i64 1
  store ptr %v97, ptr %slot3, align 1
  %v98 = getelementptr i32, ptr %v96, i64 0
  %v99 = load i32, ptr %v98, align 1
  %v100 = sext i32 %v99 to i64
  %v101 = load ptr, ptr %slot3, align 1
  %v102 = getelementptr i32, ptr %v101, i64 1
  store ptr %v102, ptr %slot3, align 1
  %v103 = getelementptr i32, ptr %v101, i64 0
  %v104 = load i32, ptr %v103, align 1
  %v105 = sext i32 %v104 to i64
  %v106 = load ptr, ptr %slot3, align 1
  %v107 = getelementptr i32, ptr %v106, i64 1
  store ptr %v107, ptr %slot3, align 1
  %v108 = getelementptr i32, ptr %v106, i64 0
  %v109 = load i32, ptr %v108, align 1
  %v110 = sext i32 %v109 to i64
  store <8 x i64> zeroinitializer, ptr %slot111
  store <8 x i64> <i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1>, ptr %slot112
  store i64 4, ptr %slot114
  br label %loop113
loop113:
  %v115 = load i64, ptr %slot114, align 1
  %v116 = icmp slt i64 %v115, %v91
  br i1 %v116, label %loop113.body, label %loop113.end
loop113.body:
  %v117 = sub i64 %v91, %v115
  %v118 = add i64 %v117, 3
  %v119 = add i64 %v118, -4
  %v120 = lshr i64 %v100, %v119
  %v121 = and i64 %v120, 1
  %v122 = sub i64 0, %v121
  %v123 = insertelement <8 x i64> poison, i64 %v122, i64 0
  %v124 = shufflevector <8 x i64> %v123, <8 x i64> poison, <8 x i32> <i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0>
  %v125 = mul i64 %v118, 64
  %v126 = getelementptr i8, ptr %v29, i64 %v125
  %v127 = load <8 x i64>, ptr %v126, align 64
  %v128 = load <8 x i64>, ptr %slot112, align 1
  %v129 = and <8 x i64> %v128, %v127
  %v130 = xor <8 x i64> %v124, <i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1>
  %v131 = and <8 x i64> %v129, %v130
  %v132 = load <8 x i64>, ptr %slot111, align 1
  %v133 = or <8 x i64> %v132, %v131
  store <8 x i64> %v133, ptr %slot111, align 1
  %v134 = xor <8 x i64> %v127, %v124
  %v135 = xor <8 x i64> %v134, <i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1>
  %v136 = and <8 x i64> %v128, %v135
  store <8 x i64> %v136, ptr %slot112, align 1
  %v137 = add i64 %v115, 1
  store i64 %v137, ptr %slot114, align 1
  br label %loop113
loop113.end:
  %v138 = load <8 x i64>, ptr %slot111, align 1
  %v139 = load <8 x i64>, ptr %slot112, align 1
  %v140 = or <8 x i64> %v138, %v85
  store i64 0, ptr %slot142
  br label %loop141
loop141:
  %v143 = load i64, ptr %slot142, align 1
  %v144 = icmp slt i64 %v143, %v105
  br i1 %v144, label %loop141.body, label %loop141.end
loop141.body:
  %v145 = load ptr, ptr %slot5, align 1
  %v146 = getelementptr i8, ptr %v145, i64 %v143
  %v147 = load i8, ptr %v146, align 1
  %v148 = zext i8 %v147 to i64
  %v149 = mul i64 %v148, 64
  %v150 = getelementptr i8, ptr %slot1, i64 %v149
  %v151 = load <8 x i64>, ptr %v150, align 64
  %v152 = and <8 x i64> %v139, %v151
  %v153 = or <8 x i64> %v138, %v152
  %v154 = load ptr, ptr %slot7, align 1
  %v155 = mul i64 %v143, 64
  %v156 = getelementptr i8, ptr %v154, i64 %v155
  store <8 x i64> %v153, ptr %v156, align 64
  %v157 = add i64 %v143, 1
  store i64 %v157, ptr %slot142, align 1
  br label %loop141
loop141.end:
  %v158 = load ptr, ptr %slot5, align 1
  %v159 = getelementptr i8, ptr %v158, i64 %v105
  store ptr %v159, ptr %slot5, align 1
  %v160 = load ptr, ptr %slot7, align 1
  %v161 = mul i64 %v105, 64
  %v162 = getelementptr i8, ptr %v160, i64 %v161
  store ptr %v162, ptr %slot7, align 1
  store i64 0, ptr %slot164
  br label %loop163
loop163:
  %v165 = load i64, ptr %slot164, align 1
  %v166 = icmp slt i64 %v165, %v110
  br i1 %v166, label %loop163.body, label %loop163.end
loop163.body:
  %v167 = load ptr, ptr %slot5, align 1
  %v168 = getelementptr i8, ptr %v167, i64 %v165
  %v169 = load i8, ptr %v168, align 1
  %v170 = zext i8 %v169 to i64
  %v171 = mul i64 %v170, 64
  %v172 = getelementptr i8, ptr %slot1, i64 %v171
  %v173 = load <8 x i64>, ptr %v172, align 64
  %v174 = and <8 x i64> %v139, %v173
  %v175 = or <8 x i64> %v140, %v174
  %v176 = load ptr, ptr %slot7, align 1
  %v177 = mul i64 %v165, 64
  %v178 = getelementptr i8, ptr %v176, i64 %v177
  store <8 x i64> %v175, ptr %v178, align 64
  %v179 = add i64 %v165, 1
  store i64 %v179, ptr %slot164, align 1
  br label %loop163
loop163.end:
  %v180 = load ptr, ptr %slot5, align 1
  %v181 = getelementptr i8, ptr %v180, i64 %v110
  store ptr %v181, ptr %slot5, align 1
  %v182 = load ptr, ptr %slot7, align 1
  %v183 = mul i64 %v110, 64
  %v184 = getelementptr i8, ptr %v182, i64 %v183
  store ptr %v184, ptr %slot7, align 1
  %v185 = add i64 %v94, 1
  store i64 %v185, ptr %slot93, align 1
  br label %loop92
loop92.end:
  %v186 = add i64 %v15, 1
  store i64 %v186, ptr %slot14, align 1
  br label %loop13
loop13.end:
  %v187 = load ptr, ptr %slot3, align 1
  %v188 = getelementptr i32, ptr %v187, i64 1
  store ptr %v188, ptr %slot3, align 1
  %v189 = getelementptr i32, ptr %v187, i64 0
  %v190 = load i32, ptr %v189, align 1
  %v191 = sext i32 %v190 to i64
  store i64 0, ptr %slot193
  br label %loop192
loop192:
  %v194 = load i64, ptr %slot193, align 1
  %v195 = icmp slt i64 %v194, %v191
  br i1 %v195, label %loop192.body, label %loop192.end
loop192.body:
  store <8 x i64> zeroinitializer, ptr %slot196
  %v197 = load ptr, ptr %slot3, align 1
  %v198 = getelementptr i32, ptr %v197, i64 1
  store ptr %v198, ptr %slot3, align 1
  %v199 = getelementptr i32, ptr %v197, i64 0
  %v200 = load i32, ptr %v199, align 1
  %v201 = sext i32 %v200 to i64
  store i64 0, ptr %slot203
  br label %loop202
loop202:
  %v204 = load i64, ptr %slot203, align 1
  %v205 = icmp slt i64 %v204, %v201
  br i1 %v205, label %loop202.body, label %loop202.end
loop202.body:
  %v206 = load ptr, ptr %slot3, align 1
  %v207 = getelementptr i32, ptr %v206, i64 1
  store ptr %v207, ptr %slot3, align 1
  %v208 = getelementptr i32, ptr %v206, i64 0
  %v209 = load i32, ptr %v208, align 1
  %v210 = sext i32 %v209 to i64
  %v211 = getelementptr i8, ptr %lines, i64 %v210
  %v212 = load <8 x i64>, ptr %v211, align 64
  %v213 = load <8 x i64>, ptr %slot196, align 1
  %v214 = xor <8 x i64> %v213, %v212
  store <8 x i64> %v214, ptr %slot196, align 1
  %v215 = add i64 %v204, 1
  store i64 %v215, ptr %slot203, align 1
  br label %loop202
loop202.end:
  %v216 = load <8 x i64>, ptr %slot196, align 1
  %v217 = load ptr, ptr %slot7, align 1
  store <8 x i64> %v216, ptr %v217, align 64
  %v218 = load ptr, ptr %slot7, align 1
  %v219 = getelementptr i8, ptr %v218, i64 64
  store ptr %v219, ptr %slot7, align 1
  %v220 = add i64 %v194, 1
  store i64 %v220, ptr %slot193, align 1
  br label %loop192
loop192.end:
  %v221 = load ptr, ptr %slot3, align 1
  store ptr %v221, ptr %words_at, align 8
  %v222 = load ptr, ptr %slot5, align 1
  store ptr %v222, ptr %entries_at, align 8
  ret void
}

define internal void @add_leaves6(ptr %numbers, ptr %table, ptr %sums) nounwind "no-builtins" "prefer-vector-width"="512" {
entry:
  %slot2 = alloca i64
  br label %start
start:
  store i64 0, ptr %slot2
  br label %loop1
loop1:
  %v3 = load i64, ptr %slot2, align 1
  %v4 = icmp slt i64 %v3, 512
  br i1 %v4, label %loop1.body, label %loop1.end
loop1.body:
  %v5 = add i64 %v3, 0
  %v6 = getelementptr i8, ptr %numbers, i64 %v5
  %v7 = load i8, ptr %v6, align 1
  %v8 = zext i8 %v7 to i64
  %v9 = getelementptr double, ptr %table, i64 %v8
  %v10 = load double, ptr %v9, align 8
  %v11 = getelementptr double, ptr %sums, i64 %v5
  %v12 = load double, ptr %v11, align 8
  %v13 = fadd double %v12, %v10
  store double %v13, ptr %v11, align 8
  %v14 = add i64 %v3, 1
  %v15 = getelementptr i8, ptr %numbers, i64 %v14
  %v16 = load i8, ptr %v15, align 1
  %v17 = zext i8 %v16 to i64
  %v18 = getelementptr double, ptr %table, i64 %v17
  %v19 = load double, ptr %v18, align 8
  %v20 = getelementptr double, ptr %sums, i64 %v14
  %v21 = load double, ptr %v20, align 8
  %v22 = fadd double %v21, %v19
  store double %v22, ptr %v20, align 8
  %v23 = add i64 %v3, 2
  %v24 = getelementptr i8, ptr %numbers, i64 %v23
  %v25 = load i8, ptr %v24, align 1
  %v26 = zext i8 %v25 to i64
  %v27 = getelementptr double, ptr %table, i64 %v26
  %v28 = load double, ptr %v27, align 8
  %v29 = getelementptr double, ptr %sums, i64 %v23
  %v30 = load double, ptr %v29, align 8
  %v31 = fadd double %v30, %v28
  store double %v31, ptr %v29, align 8
  %v32 = add i64 %v3, 3
  %v33 = getelementptr i8, ptr %numbers, i64 %v32
  %v34 = load i8, ptr %v33, align 1
  %v35 = zext i8 %v34 to i64
  %v36 = getelementptr double, ptr %table, i64 %v35
  %v37 = load double, ptr %v36, align 8
  %v38 = getelementptr double, ptr %sums, i64 %v32
  %v39 = load double, ptr %v38, align 8
  %v40 = fadd double %v39, %v37
  store double %v40, ptr %v38, align 8
  %v41 = add i64 %v3, 4
  store i64 %v41, ptr %slot2, align 1
  br label %loop1
loop1.end:
  ret void
}

define internal void @trees(ptr %tables, ptr %words_at, ptr %leaves_at, i64 %count, ptr %lines, ptr %sums, ptr %numbers, ptr %rows, i64 %n) nounwind "no-builtins" "prefer-vector-width"="512" {
entry:
  %slot2 = alloca ptr
  %slot4 = alloca ptr
  %slot6 = alloca i64
  %slot30 = alloca i64
  %slot195 = alloca i64
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
  %v21 = icmp eq i64 %v13, 22
  br i1 %v21, label %when22, label %when22.end
when22:
  %v23 = load ptr, ptr %slot2, align 1
  %v24 = getelementptr i32, ptr %v23, i64 1
  store ptr %v24, ptr %slot2, align 1
  %v25 = getelementptr i32, ptr %v23, i64 0
  %v26 = load i32, ptr %v25, align 1
  %v27 = sext i32 %v26 to i64
  %v28 = load ptr, ptr %slot2, align 1
  store i64 0, ptr %slot30
  br label %loop29
loop29:
  %v31 = load i64, ptr %slot30, align 1
  %v32 = icmp slt i64 %v31, %v27
  br i1 %v32, label %loop29.body, label %loop29.end
loop29.body:
  %v33 = getelementptr [4 x i32], ptr %v28, i64 %v31
  %v34 = getelementptr i32, ptr %v33, i64 0
  %v35 = load i32, ptr %v34, align 1
  %v36 = zext i32 %v35 to i64
  %v37 = getelementptr i8, ptr %lines, i64 %v36
  %v38 = load <8 x i64>, ptr %v37, align 64
  %v39 = getelementptr i32, ptr %v33, i64 1
  %v40 = load i32, ptr %v39, align 1
  %v41 = zext i32 %v40 to i64
  %v42 = getelementptr i8, ptr %lines, i64 %v41
  %v43 = load <8 x i64>, ptr %v42, align 64
  %v44 = getelementptr i32, ptr %v33, i64 2
  %v45 = load i32, ptr %v44, align 1
  %v46 = zext i32 %v45 to i64
  %v47 = getelementptr i8, ptr %lines, i64 %v46
  %v48 = load <8 x i64>, ptr %v47, align 64
  %v49 = and <8 x i64> %v38, %v43
  %v50 = xor <8 x i64> %v38, <i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1, i64 -1>
  %v51 = and <8 x i64> %v50, %v48
  %v52 = or <8 x i64> %v49, %v51
  %v53 = getelementptr i32, ptr %v33, i64 3
  %v54 = load i32, ptr %v53, align 1
  %v55 = zext i32 %v54 to i64
  %v56 = getelementptr i8, ptr %lines, i64 %v55
  store <8 x i64> %v52, ptr %v56, align 64
  %v57 = add i64 %v31, 1
  store i64 %v57, ptr %slot30, align 1
  br label %loop29
loop29.end:
  %v58 = getelementptr [4 x i32], ptr %v28, i64 %v27
  %v59 = getelementptr i32, ptr %v58, i64 6
  store ptr %v59, ptr %slot2, align 1
  %v60 = getelementptr i32, ptr %v58, i64 0
  %v61 = load i32, ptr %v60, align 1
  %v62 = zext i32 %v61 to i64
  %v63 = getelementptr i8, ptr %lines, i64 %v62
  %v64 = load <8 x i64>, ptr %v63, align 64
  %v65 = getelementptr i32, ptr %v58, i64 1
  %v66 = load i32, ptr %v65, align 1
  %v67 = zext i32 %v66 to i64
  %v68 = getelementptr i8, ptr %lines, i64 %v67
  %v69 = load <8 x i64>, ptr %v68, align 64
  %v70 = getelementptr i32, ptr %v58, i64 2
  %v71 = load i32, ptr %v70, align 1
  %v72 = zext i32 %v71 to i64
  %v73 = getelementptr i8, ptr %lines, i64 %v72
  %v74 = load <8 x i64>, ptr %v73, align 64
  %v75 = getelementptr i32, ptr %v58, i64 3
  %v76 = load i32, ptr %v75, align 1
  %v77 = zext i32 %v76 to i64
  %v78 = getelementptr i8, ptr %lines, i64 %v77
  %v79 = load <8 x i64>, ptr %v78, align 64
  %v80 = getelementptr i32, ptr %v58, i64 4
  %v81 = load i32, ptr %v80, align 1
  %v82 = zext i32 %v81 to i64
  %v83 = getelementptr i8, ptr %lines, i64 %v82
  %v84 = load <8 x i64>, ptr %v83, align 64
  %v85 = getelementptr i32, ptr %v58, i64 5
  %v86 = load i32, ptr %v85, align 1
  %v87 = zext i32 %v86 to i64
  %v88 = getelementptr i8, ptr %lines, i64 %v87
  %v89 = load <8 x i64>, ptr %v88, align 64
  %v90 = shl <8 x i64> %v84, <i64 4, i64 4, i64 4, i64 4, i64 4, i64 4, i64 4, i64 4>
  %v91 = lshr <8 x i64> %v64, <i64 4, i64 4, i64 4, i64 4, i64 4, i64 4, i64 4, i64 4>
  %v92 = and <8 x i64> %v64, <i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095>
  %v93 = and <8 x i64> %v90, <i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096>
  %v94 = or <8 x i64> %v92, %v93
  %v95 = and <8 x i64> %v91, <i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095>
  %v96 = and <8 x i64> %v84, <i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096>
  %v97 = or <8 x i64> %v95, %v96
  %v98 = shl <8 x i64> %v89, <i64 4, i64 4, i64 4, i64 4, i64 4, i64 4, i64 4, i64 4>
  %v99 = lshr <8 x i64> %v69, <i64 4, i64 4, i64 4, i64 4, i64 4, i64 4, i64 4, i64 4>
  %v100 = and <8 x i64> %v69, <i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095>
  %v101 = and <8 x i64> %v98, <i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096>
  %v102 = or <8 x i64> %v100, %v101
  %v103 = and <8 x i64> %v99, <i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095>
  %v104 = and <8 x i64> %v89, <i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096>
  %v105 = or <8 x i64> %v103, %v104
  %v106 = shl <8 x i64> zeroinitializer, <i64 4, i64 4, i64 4, i64 4, i64 4, i64 4, i64 4, i64 4>
  %v107 = lshr <8 x i64> %v74, <i64 4, i64 4, i64 4, i64 4, i64 4, i64 4, i64 4, i64 4>
  %v108 = and <8 x i64> %v74, <i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095>
  %v109 = and <8 x i64> %v106, <i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096>
  %v110 = or <8 x i64> %v108, %v109
  %v111 = and <8 x i64> %v107, <i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095>
  %v112 = and <8 x i64> zeroinitializer, <i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096>
  %v113 = or <8 x i64> %v111, %v112
  %v114 = shl <8 x i64> zeroinitializer, <i64 4, i64 4, i64 4, i64 4, i64 4, i64 4, i64 4, i64 4>
  %v115 = lshr <8 x i64> %v79, <i64 4, i64 4, i64 4, i64 4, i64 4, i64 4, i64 4, i64 4>
  %v116 = and <8 x i64> %v79, <i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095>
  %v117 = and <8 x i64> %v114, <i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096>
  %v118 = or <8 x i64> %v116, %v117
  %v119 = and <8 x i64> %v115, <i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095>
  %v120 = and <8 x i64> zeroinitializer, <i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096>
  %v121 = or <8 x i64> %v119, %v120
  %v122 = shl <8 x i64> %v110, <i64 2, i64 2, i64 2, i64 2, i64 2, i64 2, i64 2, i64 2>
  %v123 = lshr <8 x i64> %v94, <i64 2, i64 2, i64 2, i64 2, i64 2, i64 2, i64 2, i64 2>
  %v124 = and <8 x i64> %v94, <i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323>
  %v125 = and <8 x i64> %v122, <i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324>
  %v126 = or <8 x i64> %v124, %v125
  %v127 = and <8 x i64> %v123, <i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323>
  %v128 = and <8 x i64> %v110, <i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324>
  %v129 = or <8 x i64> %v127, %v128
  %v130 = shl <8 x i64> %v118, <i64 2, i64 2, i64 2, i64 2, i64 2, i64 2, i64 2, i64 2>
  %v131 = lshr <8 x i64> %v102, <i64 2, i64 2, i64 2, i64 2, i64 2, i64 2, i64 2, i64 2>
  %v132 = and <8 x i64> %v102, <i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323>
  %v133 = and <8 x i64> %v130, <i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324>
  %v134 = or <8 x i64> %v132, %v133
  %v135 = and <8 x i64> %v131, <i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323>
  %v136 = and <8 x i64> %v118, <i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324>
  %v137 = or <8 x i64> %v135, %v136
  %v138 = shl <8 x i64> %v113, <i64 2, i64 2, i64 2, i64 2, i64 2, i64 2, i64 2, i64 2>
  %v139 = lshr <8 x i64> %v97, <i64 2, i64 2, i64 2, i64 2, i64 2, i64 2, i64 2, i64 2>
  %v140 = and <8 x i64> %v97, <i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323>
  %v141 = and <8 x i64> %v138, <i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324>
  %v142 = or <8 x i64> %v140, %v141
  %v143 = and <8 x i64> %v139, <i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323>
  %v144 = and <8 x i64> %v113, <i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324>
  %v145 = or <8 x i64> %v143, %v144
  %v146 = shl <8 x i64> %v121, <i64 2, i64 2, i64 2, i64 2, i64 2, i64 2, i64 2, i64 2>
  %v147 = lshr <8 x i64> %v105, <i64 2, i64 2, i64 2, i64 2, i64 2, i64 2, i64 2, i64 2>
  %v148 = and <8 x i64> %v105, <i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323>
  %v149 = and <8 x i64> %v146, <i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324>
  %v150 = or <8 x i64> %v148, %v149
  %v151 = and <8 x i64> %v147, <i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323>
  %v152 = and <8 x i64> %v121, <i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324>
  %v153 = or <8 x i64> %v151, %v152
  %v154 = shl <8 x i64> %v134, <i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1>
  %v155 = lshr <8 x i64> %v126, <i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1>
  %v156 = and <8 x i64> %v126, <i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205>
  %v157 = and <8 x i64> %v154, <i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206>
  %v158 = or <8 x i64> %v156, %v157
  %v159 = and <8 x i64> %v155, <i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205>
  %v160 = and <8 x i64> %v134, <i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206>
  %v161 = or <8 x i64> %v159, %v160
  %v162 = shl <8 x i64> %v137, <i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1>
  %v163 = lshr <8 x i64> %v129, <i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1>
  %v164 = and <8 x i64> %v129, <i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205>
  %v165 = and <8 x i64> %v162, <i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206>
  %v166 = or <8 x i64> %v164, %v165
  %v167 = and <8 x i64> %v163, <i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205>
  %v168 = and <8 x i64> %v137, <i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206>
  %v169 = or <8 x i64> %v167, %v168
  %v170 = shl <8 x i64> %v150, <i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1>
  %v171 = lshr <8 x i64> %v142, <i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1>
  %v172 = and <8 x i64> %v142, <i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205>
  %v173 = and <8 x i64> %v170, <i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206>
  %v174 = or <8 x i64> %v172, %v173
  %v175 = and <8 x i64> %v171, <i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205>
  %v176 = and <8 x i64> %v150, <i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206>
  %v177 = or <8 x i64> %v175, %v176
  %v178 = shl <8 x i64> %v153, <i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1>
  %v179 = lshr <8 x i64> %v145, <i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1, i64 1>
  %v180 = and <8 x i64> %v145, <i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205>
  %v181 = and <8 x i64> %v178, <i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206>
  %v182 = or <8 x i64> %v180, %v181
  %v183 = and <8 x i64> %v179, <i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205>
  %v184 = and <8 x i64> %v153, <i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206>
  %v185 = or <8 x i64> %v183, %v184
  %v186 = getelementptr i8, ptr %numbers, i64 0
  store <8 x i64> %v158, ptr %v186, align 64
  %v187 = getelementptr i8, ptr %numbers, i64 64
  store <8 x i64> %v161, ptr %v187, align 64
  %v188 = getelementptr i8, ptr %numbers, i64 128
  store <8 x i64> %v166, ptr %v188, align 64
  %v189 = getelementptr i8, ptr %numbers, i64 192
  store <8 x i64> %v169, ptr %v189, align 64
  %v190 = getelementptr i8, ptr %numbers, i64 256
  store <8 x i64> %v174, ptr %v190, align 64
  %v191 = getelementptr i8, ptr %numbers, i64 320
  store <8 x i64> %v177, ptr %v191, align 64
  %v192 = getelementptr i8, ptr %numbers, i64 384
  store <8 x i64> %v182, ptr %v192, align 64
  %v193 = getelementptr i8, ptr %numbers, i64 448
  store <8 x i64> %v185, ptr %v193, align 64
  store i64 0, ptr %slot195
  br label %loop194
loop194:
  %v196 = load i64, ptr %slot195, align 1
  %v197 = icmp slt i64 %v196, %v18
  br i1 %v197, label %loop194.body, label %loop194.end
loop194.body:
  %v198 = getelementptr i32, ptr %v19, i64 %v196
  %v199 = load i32, ptr %v198, align 1
  %v200 = sext i32 %v199 to i64
  %v201 = mul i64 %v200, 4096
  %v202 = getelementptr i8, ptr %sums, i64 %v201
  %v203 = load ptr, ptr %slot4, align 1
  call void @add_leaves6(ptr %numbers, ptr %v203, ptr %v202)
  %v204 = getelementptr i8, ptr %v203, i64 512
  store ptr %v204, ptr %slot4, align 1
  %v205 = add i64 %v196, 1
  store i64 %v205, ptr %slot195, align 1
  br label %loop194
loop194.end:
  br label %when22.end
when22.end:
  %v206 = add i64 %v7, 1
  store i64 %v206, ptr %slot6, align 1
  br label %loop5
loop5.end:
  %v207 = load ptr, ptr %slot2, align 1
  store ptr %v207, ptr %words_at, align 8
  %v208 = load ptr, ptr %slot4, align 1
  store ptr %v208, ptr %leaves_at, align 8
  ret void
}
