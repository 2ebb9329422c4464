define internal void @ranks(ptr %tables, ptr %rows, i64 %n, ptr %slot, ptr %scratch, ptr %bits) nounwind "no-builtins" {
entry:
  %slot26 = alloca i64
  %slot166 = alloca i64
  br label %start
start:
  %v1 = getelementptr i64, ptr %tables, i64 9
  %v2 = load i64, ptr %v1, align 8
  %v3 = getelementptr i8, ptr %tables, i64 %v2
  %v4 = getelementptr i64, ptr %tables, i64 23
  %v5 = load i64, ptr %v4, align 8
  %v6 = getelementptr i8, ptr %scratch, i64 %v5
  %v7 = getelementptr i64, ptr %tables, i64 24
  %v8 = load i64, ptr %v7, align 8
  %v9 = getelementptr i8, ptr %scratch, i64 %v8
  %v10 = getelementptr i64, ptr %tables, i64 2
  %v11 = load i64, ptr %v10, align 8
  %v12 = getelementptr i32, ptr %slot, i64 0
  %v13 = load i32, ptr %v12, align 1
  %v14 = sext i32 %v13 to i64
  %v15 = getelementptr float, ptr %rows, i64 %v14
  %v16 = getelementptr i32, ptr %slot, i64 1
  %v17 = load i32, ptr %v16, align 1
  %v18 = icmp eq i32 %v17, 1
  br i1 %v18, label %when19, label %when19.end
when19:
  %v20 = getelementptr i32, ptr %slot, i64 3
  %v21 = load i32, ptr %v20, align 1
  %v22 = sext i32 %v21 to i64
  %v23 = getelementptr <16 x float>, ptr %v3, i64 %v22
  %v24 = load <16 x float>, ptr %v23, align 64
  store i64 0, ptr %slot26
  br label %loop25
loop25:
  %v27 = load i64, ptr %slot26, align 1
  %v28 = icmp slt i64 %v27, %n
  br i1 %v28, label %loop25.body, label %loop25.end
loop25.body:
  %v29 = mul i64 %v27, %v11
  %v30 = getelementptr float, ptr %v15, i64 %v29
  %v31 = load float, ptr %v30, align 4
  %v32 = insertelement <16 x float> poison, float %v31, i64 0
  %v33 = shufflevector <16 x float> %v32, <16 x float> poison, <16 x i32> <i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0, i32 0>
  %v34 = fcmp oge <16 x float> %v33, %v24
  %v35 = bitcast <16 x i1> %v34 to i16
  %v36 = call i16 @llvm.ctpop.i16(i16 %v35)
  %v37 = zext i16 %v36 to i64
  %v38 = trunc i64 %v37 to i8
  %v39 = getelementptr i8, ptr %v6, i64 %v27
  store i8 %v38, ptr %v39, align 1
  %v40 = add i64 %v27, 1
  store i64 %v40, ptr %slot26, align 1
  br label %loop25
loop25.end:
  %v41 = getelementptr i8, ptr %v6, i64 0
  %v42 = load <4 x i64>, ptr %v41, align 32
  %v43 = getelementptr i8, ptr %v6, i64 32
  %v44 = load <4 x i64>, ptr %v43, align 32
  %v45 = getelementptr i8, ptr %v6, i64 64
  %v46 = load <4 x i64>, ptr %v45, align 32
  %v47 = getelementptr i8, ptr %v6, i64 96
  %v48 = load <4 x i64>, ptr %v47, align 32
  %v49 = getelementptr i8, ptr %v6, i64 128
  %v50 = load <4 x i64>, ptr %v49, align 32
  %v51 = getelementptr i8, ptr %v6, i64 160
  %v52 = load <4 x i64>, ptr %v51, align 32
  %v53 = getelementptr i8, ptr %v6, i64 192
  %v54 = load <4 x i64>, ptr %v53, align 32
  %v55 = getelementptr i8, ptr %v6, i64 224
  %v56 = load <4 x i64>, ptr %v55, align 32
  %v57 = shl <4 x i64> %v50, <i64 4, i64 4, i64 4, i64 4>
  %v58 = lshr <4 x i64> %v42, <i64 4, i64 4, i64 4, i64 4>
  %v59 = and <4 x i64> %v42, <i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095>
  %v60 = and <4 x i64> %v57, <i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096>
  %v61 = or <4 x i64> %v59, %v60
  %v62 = and <4 x i64> %v58, <i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095>
  %v63 = and <4 x i64> %v50, <i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096>
  %v64 = or <4 x i64> %v62, %v63
  %v65 = shl <4 x i64> %v52, <i64 4, i64 4, i64 4, i64 4>
  %v66 = lshr <4 x i64> %v44, <i64 4, i64 4, i64 4, i64 4>
  %v67 = and <4 x i64> %v44, <i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095>
  %v68 = and <4 x i64> %v65, <i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096>
  %v69 = or <4 x i64> %v67, %v68
  %v70 = and <4 x i64> %v66, <i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095>
  %v71 = and <4 x i64> %v52, <i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096>
  %v72 = or <4 x i64> %v70, %v71
  %v73 = shl <4 x i64> %v54, <i64 4, i64 4, i64 4, i64 4>
  %v74 = lshr <4 x i64> %v46, <i64 4, i64 4, i64 4, i64 4>
  %v75 = and <4 x i64> %v46, <i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095>
  %v76 = and <4 x i64> %v73, <i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096>
  %v77 = or <4 x i64> %v75, %v76
  %v78 = and <4 x i64> %v74, <i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095>
  %v79 = and <4 x i64> %v54, <i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096>
  %v80 = or <4 x i64> %v78, %v79
  %v81 = shl <4 x i64> %v56, <i64 4, i64 4, i64 4, i64 4>
  %v82 = lshr <4 x i64> %v48, <i64 4, i64 4, i64 4, i64 4>
  %v83 = and <4 x i64> %v48, <i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095>
  %v84 = and <4 x i64> %v81, <i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096>
  %v85 = or <4 x i64> %v83, %v84
  %v86 = and <4 x i64> %v82, <i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095>
  %v87 = and <4 x i64> %v56, <i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096>
  %v88 = or <4 x i64> %v86, %v87
  %v89 = shl <4 x i64> %v77, <i64 2, i64 2, i64 2, i64 2>
  %v90 = lshr <4 x i64> %v61, <i64 2, i64 2, i64 2, i64 2>
  %v91 = and <4 x i64> %v61, <i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323>
  %v92 = and <4 x i64> %v89, <i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324>
  %v93 = or <4 x i64> %v91, %v92
  %v94 = and <4 x i64> %v90, <i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323>
  %v95 = and <4 x i64> %v77, <i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324>
  %v96 = or <4 x i64> %v94, %v95
  %v97 = shl <4 x i64> %v85, <i64 2, i64 2, i64 2, i64 2>
  %v98 = lshr <4 x i64> %v69, <i64 2, i64 2, i64 2, i64 2>
  %v99 = and <4 x i64> %v69, <i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323>
  %v100 = and <4 x i64> %v97, <i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324>
  %v101 = or <4 x i64> %v99, %v100
  %v102 = and <4 x i64> %v98, <i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323>
  %v103 = and <4 x i64> %v85, <i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324>
  %v104 = or <4 x i64> %v102, %v103
  %v105 = shl <4 x i64> %v80, <i64 2, i64 2, i64 2, i64 2>
  %v106 = lshr <4 x i64> %v64, <i64 2, i64 2, i64 2, i64 2>
  %v107 = and <4 x i64> %v64, <i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323>
  %v108 = and <4 x i64> %v105, <i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324>
  %v109 = or <4 x i64> %v107, %v108
  %v110 = and <4 x i64> %v106, <i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323>
  %v111 = and <4 x i64> %v80, <i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324>
  %v112 = or <4 x i64> %v110, %v111
  %v113 = shl <4 x i64> %v88, <i64 2, i64 2, i64 2, i64 2>
  %v114 = lshr <4 x i64> %v72, <i64 2, i64 2, i64 2, i64 2>
  %v115 = and <4 x i64> %v72, <i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323>
  %v116 = and <4 x i64> %v113, <i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324>
  %v117 = or <4 x i64> %v115, %v116
  %v118 = and <4 x i64> %v114, <i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323>
  %v119 = and <4 x i64> %v88, <i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324>
  %v120 = or <4 x i64> %v118, %v119
  %v121 = shl <4 x i64> %v101, <i64 1, i64 1, i64 1, i64 1>
  %v122 = lshr <4 x i64> %v93, <i64 1, i64 1, i64 1, i64 1>
  %v123 = and <4 x i64> %v93, <i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205>
  %v124 = and <4 x i64> %v121, <i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206>
  %v125 = or <4 x i64> %v123, %v124
  %v126 = and <4 x i64> %v122, <i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205>
  %v127 = and <4 x i64> %v101, <i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206>
  %v128 = or <4 x i64> %v126, %v127
  %v129 = shl <4 x i64> %v104, <i64 1, i64 1, i64 1, i64 1>
  %v130 = lshr <4 x i64> %v96, <i64 1, i64 1, i64 1, i64 1>
  %v131 = and <4 x i64> %v96, <i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205>
  %v132 = and <4 x i64> %v129, <i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206>
  %v133 = or <4 x i64> %v131, %v132
  %v134 = and <4 x i64> %v130, <i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205>
  %v135 = and <4 x i64> %v104, <i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206>
  %v136 = or <4 x i64> %v134, %v135
  %v137 = shl <4 x i64> %v117, <i64 1, i64 1, i64 1, i64 1>
  %v138 = lshr <4 x i64> %v109, <i64 1, i64 1, i64 1, i64 1>
  %v139 = and <4 x i64> %v109, <i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205>
  %v140 = and <4 x i64> %v137, <i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206>
  %v141 = or <4 x i64> %v139, %v140
  %v142 = and <4 x i64> %v138, <i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205>
  %v143 = and <4 x i64> %v117, <i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206>
  %v144 = or <4 x i64> %v142, %v143
  %v145 = shl <4 x i64> %v120, <i64 1, i64 1, i64 1, i64 1>
  %v146 = lshr <4 x i64> %v112, <i64 1, i64 1, i64 1, i64 1>
  %v147 = and <4 x i64> %v112, <i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205>
  %v148 = and <4 x i64> %v145, <i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206>
  %v149 = or <4 x i64> %v147, %v148
  %v150 = and <4 x i64> %v146, <i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205>
  %v151 = and <4 x i64> %v120, <i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206>
  %v152 = or <4 x i64> %v150, %v151
  %v153 = getelementptr i8, ptr %bits, i64 0
  store <4 x i64> %v125, ptr %v153, align 32
  %v154 = getelementptr i8, ptr %bits, i64 32
  store <4 x i64> %v128, ptr %v154, align 32
  %v155 = getelementptr i8, ptr %bits, i64 64
  store <4 x i64> %v133, ptr %v155, align 32
  %v156 = getelementptr i8, ptr %bits, i64 96
  store <4 x i64> %v136, ptr %v156, align 32
  %v157 = getelementptr i8, ptr %bits, i64 128
  store <4 x i64> %v141, ptr %v157, align 32
  %v158 = getelementptr i8, ptr %bits, i64 160
  store <4 x i64> %v144, ptr %v158, align 32
  %v159 = getelementptr i8, ptr %bits, i64 192
  store <4 x i64> %v149, ptr %v159, align 32
  %v160 = getelementptr i8, ptr %bits, i64 224
  store <4 x i64> %v152, ptr %v160, align 32
  br label %when19.end
when19.end:
  %v161 = getelementptr i32, ptr %slot, i64 2
  %v162 = load i32, ptr %v161, align 1
  %v163 = icmp ne i32 %v162, 0
  br i1 %v163, label %when164, label %when164.end
when164:
  store i64 0, ptr %slot166
  br label %loop165
loop165:
  %v167 = load i64, ptr %slot166, align 1
  %v168 = icmp slt i64 %v167, %n
  br i1 %v168, label %loop165.body, label %loop165.end
loop165.body:
  %v169 = mul i64 %v167, %v11
  %v170 = getelementptr float, ptr %v15, i64 %v169
  %v171 = load float, ptr %v170, align 4
  %v172 = fcmp uno float %v171, %v171
  %v173 = zext i1 %v172 to i8
  %v174 = getelementptr i8, ptr %v9, i64 %v167
  store i8 %v173, ptr %v174, align 1
  %v175 = add i64 %v167, 1
  store i64 %v175, ptr %slot166, align 1
  br label %loop165
loop165.end:
  %v176 = load <4 x i64>, ptr %v9, align 32
  %v177 = getelementptr i8, ptr %v9, i64 32
  %v178 = load <4 x i64>, ptr %v177, align 32
  %v179 = shl <4 x i64> %v178, <i64 1, i64 1, i64 1, i64 1>
  %v180 = or <4 x i64> %v176, %v179
  %v181 = getelementptr i8, ptr %v9, i64 64
  %v182 = load <4 x i64>, ptr %v181, align 32
  %v183 = shl <4 x i64> %v182, <i64 2, i64 2, i64 2, i64 2>
  %v184 = or <4 x i64> %v180, %v183
  %v185 = getelementptr i8, ptr %v9, i64 96
  %v186 = load <4 x i64>, ptr %v185, align 32
  %v187 = shl <4 x i64> %v186, <i64 3, i64 3, i64 3, i64 3>
  %v188 = or <4 x i64> %v184, %v187
  %v189 = getelementptr i8, ptr %v9, i64 128
  %v190 = load <4 x i64>, ptr %v189, align 32
  %v191 = shl <4 x i64> %v190, <i64 4, i64 4, i64 4, i64 4>
  %v192 = or <4 x i64> %v188, %v191
  %v193 = getelementptr i8, ptr %v9, i64 160
  %v194 = load <4 x i64>, ptr %v193, align 32
  %v195 = shl <4 x i64> %v194, <i64 5, i64 5, i64 5, i64 5>
  %v196 = or <4 x i64> %v192, %v195
  %v197 = getelementptr i8, ptr %v9, i64 192
  %v198 = load <4 x i64>, ptr %v197, align 32
  %v199 = shl <4 x i64> %v198, <i64 6, i64 6, i64 6, i64 6>
  %v200 = or <4 x i64> %v196, %v199
  %v201 = getelementptr i8, ptr %v9, i64 224
  %v202 = load <4 x i64>, ptr %v201, align 32
  %v203 = shl <4 x i64> %v202, <i64 7, i64 7, i64 7, i64 7>
  %v204 = or <4 x i64> %v200, %v203
  %v205 = getelementptr i8, ptr %bits, i64 512
  store <4 x i64> %v204, ptr %v205, align 32
  br label %when164.end
when164.end:
  ret void
}

define internal void @lines(ptr %words_at, ptr %entries_at, ptr %bits, ptr %slots, ptr %lines) nounwind "no-builtins" {
entry:
  %slot1 = alloca [16 x <4 x i64>], align 64
  %slot3 = alloca ptr
  %slot5 = alloca ptr
  %slot7 = alloca ptr
  %slot14 = alloca i64
  %slot93 = alloca i64
  %slot111 = alloca <4 x i64>
  %slot112 = alloca <4 x i64>
  %slot114 = alloca i64
  %slot142 = alloca i64
  %slot164 = alloca i64
  br label %start
start:
  %v2 = load ptr, ptr %words_at, align 8
  store ptr %v2, ptr %slot3
  %v4 = load ptr, ptr %entries_at, align 8
  store ptr %v4, ptr %slot5
  %v6 = getelementptr i8, ptr %lines, i64 64
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
  %v28 = mul i64 %v27, 32
  %v29 = getelementptr i8, ptr %bits, i64 %v28
  %v30 = getelementptr i8, ptr %v29, i64 0
  %v31 = load <4 x i64>, ptr %v30, align 32
  %v32 = getelementptr i8, ptr %v29, i64 32
  %v33 = load <4 x i64>, ptr %v32, align 32
  %v34 = getelementptr i8, ptr %v29, i64 64
  %v35 = load <4 x i64>, ptr %v34, align 32
  %v36 = getelementptr i8, ptr %v29, i64 96
  %v37 = load <4 x i64>, ptr %v36, align 32
  %v38 = or <4 x i64> %v31, <i64 -1, i64 -1, i64 -1, i64 -1>
  %v39 = and <4 x i64> %v31, <i64 -1, i64 -1, i64 -1, i64 -1>
  %v40 = or <4 x i64> %v33, %v38
  %v41 = or <4 x i64> %v33, %v39
  %v42 = and <4 x i64> %v33, %v38
  %v43 = and <4 x i64> %v33, %v39
  %v44 = or <4 x i64> %v35, %v40
  %v45 = or <4 x i64> %v35, %v41
  %v46 = or <4 x i64> %v35, %v42
  %v47 = or <4 x i64> %v35, %v43
  %v48 = and <4 x i64> %v35, %v40
  %v49 = and <4 x i64> %v35, %v41
  %v50 = and <4 x i64> %v35, %v42
  %v51 = and <4 x i64> %v35, %v43
  %v52 = or <4 x i64> %v37, %v44
  %v53 = or <4 x i64> %v37, %v45
  %v54 = or <4 x i64> %v37, %v46
  %v55 = or <4 x i64> %v37, %v47
  %v56 = or <4 x i64> %v37, %v48
  %v57 = or <4 x i64> %v37, %v49
  %v58 = or <4 x i64> %v37, %v50
  %v59 = or <4 x i64> %v37, %v51
  %v60 = and <4 x i64> %v37, %v44
  %v61 = and <4 x i64> %v37, %v45
  %v62 = and <4 x i64> %v37, %v46
  %v63 = and <4 x i64> %v37, %v47
  %v64 = and <4 x i64> %v37, %v48
  %v65 = and <4 x i64> %v37, %v49
  %v66 = and <4 x i64> %v37, %v50
  %v67 = and <4 x i64> %v37, %v51
  %v68 = getelementptr i8, ptr %slot1, i64 0
  store <4 x i64> %v52, ptr %v68, align 32
  %v69 = getelementptr i8, ptr %slot1, i64 32
  store <4 x i64> %v53, ptr %v69, align 32
  %v70 = getelementptr i8, ptr %slot1, i64 64
  store <4 x i64> %v54, ptr %v70, align 32
  %v71 = getelementptr i8, ptr %slot1, i64 96
  store <4 x i64> %v55, ptr %v71, align 32
  %v72 = getelementptr i8, ptr %slot1, i64 128
  store <4 x i64> %v56, ptr %v72, align 32
  %v73 = getelementptr i8, ptr %slot1, i64 160
  store <4 x i64> %v57, ptr %v73, align 32
  %v74 = getelementptr i8, ptr %slot1, i64 192
  store <4 x i64> %v58, ptr %v74, align 32
  %v75 = getelementptr i8, ptr %slot1, i64 224
  store <4 x i64> %v59, ptr %v75, align 32
  %v76 = getelementptr i8, ptr %slot1, i64 256
  store <4 x i64> %v60, ptr %v76, align 32
  %v77 = getelementptr i8, ptr %slot1, i64 288
  store <4 x i64> %v61, ptr %v77, align 32
  %v78 = getelementptr i8, ptr %slot1, i64 320
  store <4 x i64> %v62, ptr %v78, align 32
  %v79 = getelementptr i8, ptr %slot1, i64 352
  store <4 x i64> %v63, ptr %v79, align 32
  %v80 = getelementptr i8, ptr %slot1, i64 384
  store <4 x i64> %v64, ptr %v80, align 32
  %v81 = getelementptr i8, ptr %slot1, i64 416
  store <4 x i64> %v65, ptr %v81, align 32
  %v82 = getelementptr i8, ptr %slot1, i64 448
  store <4 x i64> %v66, ptr %v82, align 32
  %v83 = getelementptr i8, ptr %slot1, i64 480
  store <4 x i64> %v67, ptr %v83, align 32
  %v84 = getelementptr i8, ptr %v29, i64 512
  %v85 = load <4 x i64>, ptr %v84, align 32
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
  store <4 x i64> zeroinitializer, ptr %slot111
  store <4 x i64> <i64 -1, i64 -1, i64 -1, i64 -1>, ptr %slot112
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
  %v123 = insertelement <4 x i64> poison, i64 %v122, i64 0
  %v124 = shufflevector <4 x i64> %v123, <4 x i64> poison, <4 x i32> <i32 0, i32 0, i32 0, i32 0>
  %v125 = mul i64 %v118, 32
  %v126 = getelementptr i8, ptr %v29, i64 %v125
  %v127 = load <4 x i64>, ptr %v126, align 32
  %v128 = load <4 x i64>, ptr %slot112, align 1
  %v129 = and <4 x i64> %v128, %v127
  %v130 = xor <4 x i64> %v124, <i64 -1, i64 -1, i64 -1, i64 -1>
  %v131 = and <4 x i64> %v129, %v130
  %v132 = load <4 x i64>, ptr %slot111, align 1
  %v133 = or <4 x i64> %v132, %v131
  store <4 x i64> %v133, ptr %slot111, align 1
  %v134 = xor <4 x i64> %v127, %v124
  %v135 = xor <4 x i64> %v134, <i64 -1, i64 -1, i64 -1, i64 -1>
  %v136 = and <4 x i64> %v128, %v135
  store <4 x i64> %v136, ptr %slot112, align 1
  %v137 = add i64 %v115, 1
  store i64 %v137, ptr %slot114, align 1
  br label %loop113
loop113.end:
  %v138 = load <4 x i64>, ptr %slot111, align 1
  %v139 = load <4 x i64>, ptr %slot112, align 1
  %v140 = or <4 x i64> %v138, %v85
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
  %v149 = mul i64 %v148, 32
  %v150 = getelementptr i8, ptr %slot1, i64 %v149
  %v151 = load <4 x i64>, ptr %v150, align 32
  %v152 = and <4 x i64> %v139, %v151
  %v153 = or <4 x i64> %v138, %v152
  %v154 = load ptr, ptr %slot7, align 1
  %v155 = mul i64 %v143, 32
  %v156 = getelementptr i8, ptr %v154, i64 %v155
  store <4 x i64> %v153, ptr %v156, align 32
  %v157 = add i64 %v143, 1
  store i64 %v157, ptr %slot142, align 1
  br label %loop141
loop141.end:
  %v158 = load ptr, ptr %slot5, align 1
  %v159 = getelementptr i8, ptr %v158, i64 %v105
  store ptr %v159, ptr %slot5, align 1
  %v160 = load ptr, ptr %slot7, align 1
  %v161 = mul i64 %v105, 32
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
  %v171 = mul i64 %v170, 32
  %v172 = getelementptr i8, ptr %slot1, i64 %v171
  %v173 = load <4 x i64>, ptr %v172, align 32
  %v174 = and <4 x i64> %v139, %v173
  %v175 = or <4 x i64> %v140, %v174
  %v176 = load ptr, ptr %slot7, align 1
  %v177 = mul i64 %v165, 32
  %v178 = getelementptr i8, ptr %v176, i64 %v177
  store <4 x i64> %v175, ptr %v178, align 32
  %v179 = add i64 %v165, 1
  store i64 %v179, ptr %slot164, align 1
  br label %loop163
loop163.end:
  %v180 = load ptr, ptr %slot5, align 1
  %v181 = getelementptr i8, ptr %v180, i64 %v110
  store ptr %v181, ptr %slot5, align 1
  %v182 = load ptr, ptr %slot7, align 1
  %v183 = mul i64 %v110, 32
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
  %v192 = load ptr, ptr %slot3, align 1
  store ptr %v192, ptr %words_at, align 8
  %v193 = load ptr, ptr %slot5, align 1
  store ptr %v193, ptr %entries_at, align 8
  ret void
}

define internal void @add_leaves2(ptr %numbers, ptr %table, ptr %sums) nounwind "no-builtins" {
entry:
  %slot2 = alloca i64
  br label %start
start:
  store i64 0, ptr %slot2
  br label %loop1
loop1:
  %v3 = load i64, ptr %slot2, align 1
  %v4 = icmp slt i64 %v3, 256
  br i1 %v4, label %loop1.body, label %loop1.end
loop1.body:
  %v5 = add i64 %v3, 0
  %v6 = getelementptr i8, ptr %numbers, i64 %v5
  %v7 = load i8, ptr %v6, align 1
  %v8 = zext i8 %v7 to i64
  %v9 = getelementptr float, ptr %table, i64 %v8
  %v10 = load float, ptr %v9, align 4
  %v11 = getelementptr float, ptr %sums, i64 %v5
  %v12 = load float, ptr %v11, align 4
  %v13 = fadd float %v12, %v10
  store float %v13, ptr %v11, align 4
  %v14 = add i64 %v3, 1
  %v15 = getelementptr i8, ptr %numbers, i64 %v14
  %v16 = load i8, ptr %v15, align 1
  %v17 = zext i8 %v16 to i64
  %v18 = getelementptr float, ptr %table, i64 %v17
  %v19 = load float, ptr %v18, align 4
  %v20 = getelementptr float, ptr %sums, i64 %v14
  %v21 = load float, ptr %v20, align 4
  %v22 = fadd float %v21, %v19
  store float %v22, ptr %v20, align 4
  %v23 = add i64 %v3, 2
  %v24 = getelementptr i8, ptr %numbers, i64 %v23
  %v25 = load i8, ptr %v24, align 1
  %v26 = zext i8 %v25 to i64
  %v27 = getelementptr float, ptr %table, i64 %v26
  %v28 = load float, ptr %v27, align 4
  %v29 = getelementptr float, ptr %sums, i64 %v23
  %v30 = load float, ptr %v29, align 4
  %v31 = fadd float %v30, %v28
  store float %v31, ptr %v29, align 4
  %v32 = add i64 %v3, 3
  %v33 = getelementptr i8, ptr %numbers, i64 %v32
  %v34 = load i8, ptr %v33, align 1
  %v35 = zext i8 %v34 to i64
  %v36 = getelementptr float, ptr %table, i64 %v35
  %v37 = load float, ptr %v36, align 4
  %v38 = getelementptr float, ptr %sums, i64 %v32
  %v39 = load float, ptr %v38, align 4
  %v40 = fadd float %v39, %v37
  store float %v40, ptr %v38, align 4
  %v41 = add i64 %v3, 4
  store i64 %v41, ptr %slot2, align 1
  br label %loop1
loop1.end:
  ret void
}

define internal void @trees(ptr %tables, ptr %words_at, ptr %leaves_at, i64 %count, ptr %lines, ptr %sums, ptr %numbers, ptr %rows, i64 %n) nounwind "no-builtins" {
entry:
  %slot2 = alloca ptr
  %slot4 = alloca ptr
  %slot6 = alloca i64
  %slot149 = alloca i64
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
  %v21 = icmp eq i64 %v13, 2
  br i1 %v21, label %when22, label %when22.end
when22:
  %v23 = load ptr, ptr %slot2, align 1
  %v24 = getelementptr i32, ptr %v23, i64 3
  store ptr %v24, ptr %slot2, align 1
  %v25 = getelementptr i32, ptr %v23, i64 0
  %v26 = load i32, ptr %v25, align 1
  %v27 = zext i32 %v26 to i64
  %v28 = getelementptr i8, ptr %lines, i64 %v27
  %v29 = load <4 x i64>, ptr %v28, align 32
  %v30 = getelementptr i32, ptr %v23, i64 1
  %v31 = load i32, ptr %v30, align 1
  %v32 = zext i32 %v31 to i64
  %v33 = getelementptr i8, ptr %lines, i64 %v32
  %v34 = load <4 x i64>, ptr %v33, align 32
  %v35 = getelementptr i32, ptr %v23, i64 2
  %v36 = load i32, ptr %v35, align 1
  %v37 = zext i32 %v36 to i64
  %v38 = getelementptr i8, ptr %lines, i64 %v37
  %v39 = load <4 x i64>, ptr %v38, align 32
  %v40 = and <4 x i64> %v29, %v39
  %v41 = xor <4 x i64> %v29, <i64 -1, i64 -1, i64 -1, i64 -1>
  %v42 = and <4 x i64> %v41, %v34
  %v43 = or <4 x i64> %v40, %v42
  %v44 = shl <4 x i64> zeroinitializer, <i64 4, i64 4, i64 4, i64 4>
  %v45 = lshr <4 x i64> %v43, <i64 4, i64 4, i64 4, i64 4>
  %v46 = and <4 x i64> %v43, <i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095>
  %v47 = and <4 x i64> %v44, <i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096>
  %v48 = or <4 x i64> %v46, %v47
  %v49 = and <4 x i64> %v45, <i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095>
  %v50 = and <4 x i64> zeroinitializer, <i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096>
  %v51 = or <4 x i64> %v49, %v50
  %v52 = shl <4 x i64> zeroinitializer, <i64 4, i64 4, i64 4, i64 4>
  %v53 = lshr <4 x i64> %v29, <i64 4, i64 4, i64 4, i64 4>
  %v54 = and <4 x i64> %v29, <i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095>
  %v55 = and <4 x i64> %v52, <i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096>
  %v56 = or <4 x i64> %v54, %v55
  %v57 = and <4 x i64> %v53, <i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095>
  %v58 = and <4 x i64> zeroinitializer, <i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096>
  %v59 = or <4 x i64> %v57, %v58
  %v60 = shl <4 x i64> zeroinitializer, <i64 4, i64 4, i64 4, i64 4>
  %v61 = lshr <4 x i64> zeroinitializer, <i64 4, i64 4, i64 4, i64 4>
  %v62 = and <4 x i64> zeroinitializer, <i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095>
  %v63 = and <4 x i64> %v60, <i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096>
  %v64 = or <4 x i64> %v62, %v63
  %v65 = and <4 x i64> %v61, <i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095>
  %v66 = and <4 x i64> zeroinitializer, <i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096>
  %v67 = or <4 x i64> %v65, %v66
  %v68 = shl <4 x i64> zeroinitializer, <i64 4, i64 4, i64 4, i64 4>
  %v69 = lshr <4 x i64> zeroinitializer, <i64 4, i64 4, i64 4, i64 4>
  %v70 = and <4 x i64> zeroinitializer, <i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095>
  %v71 = and <4 x i64> %v68, <i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096>
  %v72 = or <4 x i64> %v70, %v71
  %v73 = and <4 x i64> %v69, <i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095, i64 1085102592571150095>
  %v74 = and <4 x i64> zeroinitializer, <i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096, i64 -1085102592571150096>
  %v75 = or <4 x i64> %v73, %v74
  %v76 = shl <4 x i64> %v64, <i64 2, i64 2, i64 2, i64 2>
  %v77 = lshr <4 x i64> %v48, <i64 2, i64 2, i64 2, i64 2>
  %v78 = and <4 x i64> %v48, <i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323>
  %v79 = and <4 x i64> %v76, <i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324>
  %v80 = or <4 x i64> %v78, %v79
  %v81 = and <4 x i64> %v77, <i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323>
  %v82 = and <4 x i64> %v64, <i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324>
  %v83 = or <4 x i64> %v81, %v82
  %v84 = shl <4 x i64> %v72, <i64 2, i64 2, i64 2, i64 2>
  %v85 = lshr <4 x i64> %v56, <i64 2, i64 2, i64 2, i64 2>
  %v86 = and <4 x i64> %v56, <i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323>
  %v87 = and <4 x i64> %v84, <i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324>
  %v88 = or <4 x i64> %v86, %v87
  %v89 = and <4 x i64> %v85, <i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323>
  %v90 = and <4 x i64> %v72, <i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324>
  %v91 = or <4 x i64> %v89, %v90
  %v92 = shl <4 x i64> %v67, <i64 2, i64 2, i64 2, i64 2>
  %v93 = lshr <4 x i64> %v51, <i64 2, i64 2, i64 2, i64 2>
  %v94 = and <4 x i64> %v51, <i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323>
  %v95 = and <4 x i64> %v92, <i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324>
  %v96 = or <4 x i64> %v94, %v95
  %v97 = and <4 x i64> %v93, <i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323>
  %v98 = and <4 x i64> %v67, <i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324>
  %v99 = or <4 x i64> %v97, %v98
  %v100 = shl <4 x i64> %v75, <i64 2, i64 2, i64 2, i64 2>
  %v101 = lshr <4 x i64> %v59, <i64 2, i64 2, i64 2, i64 2>
  %v102 = and <4 x i64> %v59, <i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323>
  %v103 = and <4 x i64> %v100, <i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324>
  %v104 = or <4 x i64> %v102, %v103
  %v105 = and <4 x i64> %v101, <i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323, i64 3689348814741910323>
  %v106 = and <4 x i64> %v75, <i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324, i64 -3689348814741910324>
  %v107 = or <4 x i64> %v105, %v106
  %v108 = shl <4 x i64> %v88, <i64 1, i64 1, i64 1, i64 1>
  %v109 = lshr <4 x i64> %v80, <i64 1, i64 1, i64 1, i64 1>
  %v110 = and <4 x i64> %v80, <i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205>
  %v111 = and <4 x i64> %v108, <i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206>
  %v112 = or <4 x i64> %v110, %v111
  %v113 = and <4 x i64> %v109, <i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205>
  %v114 = and <4 x i64> %v88, <i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206>
  %v115 = or <4 x i64> %v113, %v114
  %v116 = shl <4 x i64> %v91, <i64 1, i64 1, i64 1, i64 1>
  %v117 = lshr <4 x i64> %v83, <i64 1, i64 1, i64 1, i64 1>
  %v118 = and <4 x i64> %v83, <i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205>
  %v119 = and <4 x i64> %v116, <i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206>
  %v120 = or <4 x i64> %v118, %v119
  %v121 = and <4 x i64> %v117, <i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205>
  %v122 = and <4 x i64> %v91, <i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206>
  %v123 = or <4 x i64> %v121, %v122
  %v124 = shl <4 x i64> %v104, <i64 1, i64 1, i64 1, i64 1>
  %v125 = lshr <4 x i64> %v96, <i64 1, i64 1, i64 1, i64 1>
  %v126 = and <4 x i64> %v96, <i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205>
  %v127 = and <4 x i64> %v124, <i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206>
  %v128 = or <4 x i64> %v126, %v127
  %v129 = and <4 x i64> %v125, <i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205>
  %v130 = and <4 x i64> %v104, <i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206>
  %v131 = or <4 x i64> %v129, %v130
  %v132 = shl <4 x i64> %v107, <i64 1, i64 1, i64 1, i64 1>
  %v133 = lshr <4 x i64> %v99, <i64 1, i64 1, i64 1, i64 1>
  %v134 = and <4 x i64> %v99, <i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205>
  %v135 = and <4 x i64> %v132, <i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206>
  %v136 = or <4 x i64> %v134, %v135
  %v137 = and <4 x i64> %v133, <i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205, i64 6148914691236517205>
  %v138 = and <4 x i64> %v107, <i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206, i64 -6148914691236517206>
  %v139 = or <4 x i64> %v137, %v138
  %v140 = getelementptr i8, ptr %numbers, i64 0
  store <4 x i64> %v112, ptr %v140, align 32
  %v141 = getelementptr i8, ptr %numbers, i64 32
  store <4 x i64> %v115, ptr %v141, align 32
  %v142 = getelementptr i8, ptr %numbers, i64 64
  store <4 x i64> %v120, ptr %v142, align 32
  %v143 = getelementptr i8, ptr %numbers, i64 96
  store <4 x i64> %v123, ptr %v143, align 32
  %v144 = getelementptr i8, ptr %numbers, i64 128
  store <4 x i64> %v128, ptr %v144, align 32
  %v145 = getelementptr i8, ptr %numbers, i64 160
  store <4 x i64> %v131, ptr %v145, align 32
  %v146 = getelementptr i8, ptr %numbers, i64 192
  store <4 x i64> %v136, ptr %v146, align 32
  %v147 = getelementptr i8, ptr %numbers, i64 224
  store <4 x i64> %v139, ptr %v147, align 32
  store i64 0, ptr %slot149
  br label %loop148
loop148:
  %v150 = load i64, ptr %slot149, align 1
  %v151 = icmp slt i64 %v150, %v18
  br i1 %v151, label %loop148.body, label %loop148.end
loop148.body:
  %v152 = getelementptr i32, ptr %v19, i64 %v150
  %v153 = load i32, ptr %v152, align 1
  %v154 = sext i32 %v153 to i64
  %v155 = mul i64 %v154, 1024
  %v156 = getelementptr i8, ptr %sums, i64 %v155
  %v157 = load ptr, ptr %slot4, align 1
  call void @add_leaves2(ptr %numbers, ptr %v157, ptr %v156)
  %v158 = getelementptr i8, ptr %v157, i64 64
  store ptr %v158, ptr %slot4, align 1
  %v159 = add i64 %v150, 1
  store i64 %v159, ptr %slot149, align 1
  br label %loop148
loop148.end:
  br label %when22.end
when22.end:
  %v160 = add i64 %v7, 1
  store i64 %v160, ptr %slot6, align 1
  br label %loop5
loop5.end:
  %v161 = load ptr, ptr %slot2, align 1
  store ptr %v161, ptr %words_at, align 8
  %v162 = load ptr, ptr %slot4, align 1
  store ptr %v162, ptr %leaves_at, align 8
  ret void
}

; row: as on x86-64-v2

define internal void @block(ptr %tables, ptr %rows, i64 %n, ptr %margins, ptr %scratch) nounwind "no-builtins" {
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
  %slot88 = alloca i64
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
  %v20 = icmp slt i64 %v19, 1024
  br i1 %v20, label %loop17.body, label %loop17.end
loop17.body:
  %v21 = mul i64 %v11, 1024
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
  %v47 = mul i64 %v46, 32
  %v48 = getelementptr i8, ptr %v28, i64 %v47
  call void @ranks(ptr %tables, ptr %rows, i64 %n, ptr %v45, ptr %scratch, ptr %v48)
  %v49 = add i64 %v42, 1
  store i64 %v49, ptr %slot41, align 1
  br label %loop40
loop40.end:
  %v50 = getelementptr i8, ptr %v31, i64 0
  store <4 x i64> <i64 0, i64 0, i64 0, i64 0>, ptr %v50, align 32
  %v51 = getelementptr i8, ptr %v31, i64 32
  store <4 x i64> <i64 -1, i64 -1, i64 -1, i64 -1>, ptr %v51, align 32
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
  %v85 = mul i64 %v83, %v5
  %v86 = getelementptr float, ptr %margins, i64 %v85
  store i64 0, ptr %slot88
  br label %loop87
loop87:
  %v89 = load i64, ptr %slot88, align 1
  %v90 = icmp slt i64 %v89, %v5
  br i1 %v90, label %loop87.body, label %loop87.end
loop87.body:
  %v91 = mul i64 %v89, 256
  %v92 = add i64 %v91, %v83
  %v93 = getelementptr float, ptr %v3, i64 %v92
  %v94 = load float, ptr %v93, align 1
  %v95 = getelementptr float, ptr %v86, i64 %v89
  store float %v94, ptr %v95, align 4
  %v96 = add i64 %v89, 1
  store i64 %v96, ptr %slot88, align 1
  br label %loop87
loop87.end:
  %v97 = add i64 %v83, 1
  store i64 %v97, ptr %slot82, align 1
  br label %loop81
loop81.end:
  ret void
}

define void @neoc_trees(ptr %args) nounwind "no-builtins" {
entry:
  %slot21 = alloca i64
  br label %start
start:
  %v1 = getelementptr i64, ptr %args, i64 0
  %v2 = load i64, ptr %v1, align 8
  %v3 = getelementptr i64, ptr %args, i64 1
  %v4 = load i64, ptr %v3, align 8
  %v5 = getelementptr i64, ptr %args, i64 2
  %v6 = load i64, ptr %v5, align 8
  %v7 = getelementptr i64, ptr %args, i64 3
  %v8 = load i64, ptr %v7, align 8
  %v9 = getelementptr i64, ptr %args, i64 4
  %v10 = load i64, ptr %v9, align 8
  %v11 = inttoptr i64 %v2 to ptr
  %v12 = inttoptr i64 %v4 to ptr
  %v13 = inttoptr i64 %v8 to ptr
  %v14 = inttoptr i64 %v10 to ptr
  %v15 = getelementptr i64, ptr %v11, i64 7
  %v16 = load i64, ptr %v15, align 8
  %v17 = getelementptr i64, ptr %v11, i64 2
  %v18 = load i64, ptr %v17, align 8
  %v19 = getelementptr i64, ptr %v11, i64 3
  %v20 = load i64, ptr %v19, align 8
  store i64 0, ptr %slot21
  %v22 = icmp sgt i64 %v6, 0
  br i1 %v22, label %when23, label %when23.end
when23:
  br label %again24
again24:
  %v25 = load i64, ptr %slot21, align 1
  %v26 = sub i64 %v6, %v25
  %v27 = mul i64 %v25, %v18
  %v28 = getelementptr float, ptr %v12, i64 %v27
  %v29 = mul i64 %v25, %v20
  %v30 = getelementptr float, ptr %v13, i64 %v29
  %v31 = icmp sle i64 %v26, %v16
  br i1 %v31, label %when32, label %when32.end
when32:
  call void @row(ptr %v11, ptr %v28, ptr %v30, ptr %v14)
  br label %when32.end
when32.end:
  %v33 = call i64 @llvm.smin.i64(i64 %v26, i64 256)
  %v34 = xor i1 %v31, true
  br i1 %v34, label %when35, label %when35.end
when35:
  call void @block(ptr %v11, ptr %v28, i64 %v33, ptr %v30, ptr %v14)
  br label %when35.end
when35.end:
  %v36 = select i1 %v31, i64 1, i64 %v33
  %v37 = add i64 %v25, %v36
  store i64 %v37, ptr %slot21, align 1
  %v38 = icmp slt i64 %v37, %v6
  br i1 %v38, label %again24, label %again24.end
again24.end:
  br label %when23.end
when23.end:
  ret void
}
