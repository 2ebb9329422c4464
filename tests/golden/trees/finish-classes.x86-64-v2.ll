define internal void @finish_0(ptr %margins, i64 %n, ptr noalias %out0, ptr noalias %out1) nounwind "no-builtins" {
entry:
  %slot3 = alloca i64
  %slot6 = alloca [28 x double], align 64
  %slot8 = alloca i64
  %slot33 = alloca <4 x double>
  %slot35 = alloca i64
  %slot45 = alloca <4 x double>
  %slot46 = alloca [28 x double], align 64
  %slot48 = alloca i64
  %slot113 = alloca [28 x double], align 64
  %slot115 = alloca i64
  %slot125 = alloca <4 x double>
  %slot126 = alloca <4 x i32>
  %slot128 = alloca i64
  %slot149 = alloca i64
  %slot173 = alloca i64
  %slot176 = alloca [7 x double], align 64
  %slot178 = alloca i64
  %slot191 = alloca <1 x double>
  %slot193 = alloca i64
  %slot203 = alloca <1 x double>
  %slot204 = alloca [7 x double], align 64
  %slot206 = alloca i64
  %slot271 = alloca [7 x double], align 64
  %slot273 = alloca i64
  %slot283 = alloca <1 x double>
  %slot284 = alloca <1 x i32>
  %slot286 = alloca i64
  %slot307 = alloca i64
  br label %start
start:
  %v1 = add i64 %n, -3
  store i64 0, ptr %slot3
  br label %loop2
loop2:
  %v4 = load i64, ptr %slot3, align 1
  %v5 = icmp slt i64 %v4, %v1
  br i1 %v5, label %loop2.body, label %loop2.end
loop2.body:
  store i64 0, ptr %slot8
  br label %loop7
loop7:
  %v9 = load i64, ptr %slot8, align 1
  %v10 = icmp slt i64 %v9, 7
  br i1 %v10, label %loop7.body, label %loop7.end
loop7.body:
  %v11 = mul i64 %v4, 7
  %v12 = add i64 %v11, %v9
  %v13 = add i64 %v12, 0
  %v14 = getelementptr double, ptr %margins, i64 %v13
  %v15 = load double, ptr %v14, align 8
  %v16 = insertelement <4 x double> poison, double %v15, i64 0
  %v17 = add i64 %v12, 7
  %v18 = getelementptr double, ptr %margins, i64 %v17
  %v19 = load double, ptr %v18, align 8
  %v20 = insertelement <4 x double> %v16, double %v19, i64 1
  %v21 = add i64 %v12, 14
  %v22 = getelementptr double, ptr %margins, i64 %v21
  %v23 = load double, ptr %v22, align 8
  %v24 = insertelement <4 x double> %v20, double %v23, i64 2
  %v25 = add i64 %v12, 21
  %v26 = getelementptr double, ptr %margins, i64 %v25
  %v27 = load double, ptr %v26, align 8
  %v28 = insertelement <4 x double> %v24, double %v27, i64 3
  %v29 = getelementptr [4 x double], ptr %slot6, i64 %v9
  store <4 x double> %v28, ptr %v29, align 8
  %v30 = add i64 %v9, 1
  store i64 %v30, ptr %slot8, align 1
  br label %loop7
loop7.end:
  %v31 = getelementptr [4 x double], ptr %slot6, i64 0
  %v32 = load <4 x double>, ptr %v31, align 8
  store <4 x double> %v32, ptr %slot33
  store i64 1, ptr %slot35
  br label %loop34
loop34:
  %v36 = load i64, ptr %slot35, align 1
  %v37 = icmp slt i64 %v36, 7
  br i1 %v37, label %loop34.body, label %loop34.end
loop34.body:
  %v38 = getelementptr [4 x double], ptr %slot6, i64 %v36
  %v39 = load <4 x double>, ptr %v38, align 8
  %v40 = load <4 x double>, ptr %slot33, align 1
  %v41 = fcmp ugt <4 x double> %v39, %v40
  %v42 = select <4 x i1> %v41, <4 x double> %v39, <4 x double> %v40
  store <4 x double> %v42, ptr %slot33, align 1
  %v43 = add i64 %v36, 1
  store i64 %v43, ptr %slot35, align 1
  br label %loop34
loop34.end:
  %v44 = load <4 x double>, ptr %slot33, align 1
  store <4 x double> <double 0x0000000000000000, double 0x0000000000000000, double 0x0000000000000000, double 0x0000000000000000>, ptr %slot45
  store i64 0, ptr %slot48
  br label %loop47
loop47:
  %v49 = load i64, ptr %slot48, align 1
  %v50 = icmp slt i64 %v49, 7
  br i1 %v50, label %loop47.body, label %loop47.end
loop47.body:
  %v51 = getelementptr [4 x double], ptr %slot6, i64 %v49
  %v52 = load <4 x double>, ptr %v51, align 8
  %v53 = fsub <4 x double> %v52, %v44
  %v54 = fcmp ogt <4 x double> %v53, <double 0x4086300000000000, double 0x4086300000000000, double 0x4086300000000000, double 0x4086300000000000>
  %v55 = select <4 x i1> %v54, <4 x double> <double 0x4086300000000000, double 0x4086300000000000, double 0x4086300000000000, double 0x4086300000000000>, <4 x double> %v53
  %v56 = fcmp olt <4 x double> %v55, <double 0xC087500000000000, double 0xC087500000000000, double 0xC087500000000000, double 0xC087500000000000>
  %v57 = select <4 x i1> %v56, <4 x double> <double 0xC087500000000000, double 0xC087500000000000, double 0xC087500000000000, double 0xC087500000000000>, <4 x double> %v55
  %v58 = fmul <4 x double> %v57, <double 0x3FF71547652B82FE, double 0x3FF71547652B82FE, double 0x3FF71547652B82FE, double 0x3FF71547652B82FE>
  %v59 = fadd <4 x double> %v58, <double 0x4338000000000000, double 0x4338000000000000, double 0x4338000000000000, double 0x4338000000000000>
  %v60 = fsub <4 x double> %v59, <double 0x4338000000000000, double 0x4338000000000000, double 0x4338000000000000, double 0x4338000000000000>
  %v61 = fmul <4 x double> %v60, <double 0x3FE62E42FEE00000, double 0x3FE62E42FEE00000, double 0x3FE62E42FEE00000, double 0x3FE62E42FEE00000>
  %v62 = fsub <4 x double> %v57, %v61
  %v63 = fmul <4 x double> %v60, <double 0x3DEA39EF35793C76, double 0x3DEA39EF35793C76, double 0x3DEA39EF35793C76, double 0x3DEA39EF35793C76>
  %v64 = fsub <4 x double> %v62, %v63
  %v65 = fsub <4 x double> %v62, %v64
  %v66 = fsub <4 x double> %v65, %v63
  %v67 = fmul <4 x double> %v64, %v64
  %v68 = fmul <4 x double> <double 0x3DE6124613A86D09, double 0x3DE6124613A86D09, double 0x3DE6124613A86D09, double 0x3DE6124613A86D09>, %v64
  %v69 = fadd <4 x double> %v68, <double 0x3E21EED8EFF8D898, double 0x3E21EED8EFF8D898, double 0x3E21EED8EFF8D898, double 0x3E21EED8EFF8D898>
  %v70 = fmul <4 x double> %v69, %v64
  %v71 = fadd <4 x double> %v70, <double 0x3E5AE64567F544E4, double 0x3E5AE64567F544E4, double 0x3E5AE64567F544E4, double 0x3E5AE64567F544E4>
  %v72 = fmul <4 x double> %v71, %v64
  %v73 = fadd <4 x double> %v72, <double 0x3E927E4FB7789F5C, double 0x3E927E4FB7789F5C, double 0x3E927E4FB7789F5C, double 0x3E927E4FB7789F5C>
  %v74 = fmul <4 x double> %v73, %v64
  %v75 = fadd <4 x double> %v74, <double 0x3EC71DE3A556C734, double 0x3EC71DE3A556C734, double 0x3EC71DE3A556C734, double 0x3EC71DE3A556C734>
  %v76 = fmul <4 x double> %v75, %v64
  %v77 = fadd <4 x double> %v76, <double 0x3EFA01A01A01A01A, double 0x3EFA01A01A01A01A, double 0x3EFA01A01A01A01A, double 0x3EFA01A01A01A01A>
  %v78 = fmul <4 x double> %v77, %v64
  %v79 = fadd <4 x double> %v78, <double 0x3F2A01A01A01A01A, double 0x3F2A01A01A01A01A, double 0x3F2A01A01A01A01A, double 0x3F2A01A01A01A01A>
  %v80 = fmul <4 x double> %v79, %v64
  %v81 = fadd <4 x double> %v80, <double 0x3F56C16C16C16C17, double 0x3F56C16C16C16C17, double 0x3F56C16C16C16C17, double 0x3F56C16C16C16C17>
  %v82 = fmul <4 x double> %v81, %v64
  %v83 = fadd <4 x double> %v82, <double 0x3F81111111111111, double 0x3F81111111111111, double 0x3F81111111111111, double 0x3F81111111111111>
  %v84 = fmul <4 x double> %v83, %v64
  %v85 = fadd <4 x double> %v84, <double 0x3FA5555555555555, double 0x3FA5555555555555, double 0x3FA5555555555555, double 0x3FA5555555555555>
  %v86 = fmul <4 x double> %v85, %v64
  %v87 = fadd <4 x double> %v86, <double 0x3FC5555555555555, double 0x3FC5555555555555, double 0x3FC5555555555555, double 0x3FC5555555555555>
  %v88 = fmul <4 x double> %v87, %v64
  %v89 = fadd <4 x double> %v88, <double 0x3FE0000000000000, double 0x3FE0000000000000, double 0x3FE0000000000000, double 0x3FE0000000000000>
  %v90 = fmul <4 x double> %v67, %v89
  %v91 = fadd <4 x double> %v90, %v66
  %v92 = fadd <4 x double> %v64, %v91
  %v93 = fadd <4 x double> <double 0x3FF0000000000000, double 0x3FF0000000000000, double 0x3FF0000000000000, double 0x3FF0000000000000>, %v92
  %v94 = fmul <4 x double> %v60, <double 0x3FE0000000000000, double 0x3FE0000000000000, double 0x3FE0000000000000, double 0x3FE0000000000000>
  %v95 = fadd <4 x double> %v94, <double 0x4338000000000000, double 0x4338000000000000, double 0x4338000000000000, double 0x4338000000000000>
  %v96 = fsub <4 x double> %v95, <double 0x4338000000000000, double 0x4338000000000000, double 0x4338000000000000, double 0x4338000000000000>
  %v97 = fadd <4 x double> %v96, <double 0x43380000000003FF, double 0x43380000000003FF, double 0x43380000000003FF, double 0x43380000000003FF>
  %v98 = bitcast <4 x double> %v97 to <4 x i64>
  %v99 = shl <4 x i64> %v98, <i64 52, i64 52, i64 52, i64 52>
  %v100 = bitcast <4 x i64> %v99 to <4 x double>
  %v101 = fmul <4 x double> %v93, %v100
  %v102 = fsub <4 x double> %v60, %v96
  %v103 = fadd <4 x double> %v102, <double 0x43380000000003FF, double 0x43380000000003FF, double 0x43380000000003FF, double 0x43380000000003FF>
  %v104 = bitcast <4 x double> %v103 to <4 x i64>
  %v105 = shl <4 x i64> %v104, <i64 52, i64 52, i64 52, i64 52>
  %v106 = bitcast <4 x i64> %v105 to <4 x double>
  %v107 = fmul <4 x double> %v101, %v106
  %v108 = load <4 x double>, ptr %slot45, align 1
  %v109 = fadd <4 x double> %v108, %v107
  store <4 x double> %v109, ptr %slot45, align 1
  %v110 = getelementptr [4 x double], ptr %slot46, i64 %v49
  store <4 x double> %v107, ptr %v110, align 8
  %v111 = add i64 %v49, 1
  store i64 %v111, ptr %slot48, align 1
  br label %loop47
loop47.end:
  %v112 = load <4 x double>, ptr %slot45, align 1
  store i64 0, ptr %slot115
  br label %loop114
loop114:
  %v116 = load i64, ptr %slot115, align 1
  %v117 = icmp slt i64 %v116, 7
  br i1 %v117, label %loop114.body, label %loop114.end
loop114.body:
  %v118 = getelementptr [4 x double], ptr %slot46, i64 %v116
  %v119 = load <4 x double>, ptr %v118, align 8
  %v120 = fdiv <4 x double> %v119, %v112
  %v121 = getelementptr [4 x double], ptr %slot113, i64 %v116
  store <4 x double> %v120, ptr %v121, align 8
  %v122 = add i64 %v116, 1
  store i64 %v122, ptr %slot115, align 1
  br label %loop114
loop114.end:
  %v123 = getelementptr [4 x double], ptr %slot6, i64 0
  %v124 = load <4 x double>, ptr %v123, align 8
  store <4 x double> %v124, ptr %slot125
  store <4 x i32> zeroinitializer, ptr %slot126
  store i64 1, ptr %slot128
  br label %loop127
loop127:
  %v129 = load i64, ptr %slot128, align 1
  %v130 = icmp slt i64 %v129, 7
  br i1 %v130, label %loop127.body, label %loop127.end
loop127.body:
  %v131 = getelementptr [4 x double], ptr %slot6, i64 %v129
  %v132 = load <4 x double>, ptr %v131, align 8
  %v133 = load <4 x double>, ptr %slot125, align 1
  %v134 = fcmp ogt <4 x double> %v132, %v133
  %v135 = fcmp uno <4 x double> %v132, %v132
  %v136 = fcmp ord <4 x double> %v133, %v133
  %v137 = and <4 x i1> %v135, %v136
  %v138 = or <4 x i1> %v134, %v137
  %v139 = select <4 x i1> %v138, <4 x double> %v132, <4 x double> %v133
  store <4 x double> %v139, ptr %slot125, align 1
  %v140 = trunc i64 %v129 to i32
  %v141 = insertelement <4 x i32> poison, i32 %v140, i64 0
  %v142 = shufflevector <4 x i32> %v141, <4 x i32> poison, <4 x i32> <i32 0, i32 0, i32 0, i32 0>
  %v143 = load <4 x i32>, ptr %slot126, align 1
  %v144 = select <4 x i1> %v138, <4 x i32> %v142, <4 x i32> %v143
  store <4 x i32> %v144, ptr %slot126, align 1
  %v145 = add i64 %v129, 1
  store i64 %v145, ptr %slot128, align 1
  br label %loop127
loop127.end:
  %v146 = load <4 x i32>, ptr %slot126, align 1
  %v147 = zext <4 x i32> %v146 to <4 x i64>
  store i64 0, ptr %slot149
  br label %loop148
loop148:
  %v150 = load i64, ptr %slot149, align 1
  %v151 = icmp slt i64 %v150, 7
  br i1 %v151, label %loop148.body, label %loop148.end
loop148.body:
  %v152 = getelementptr [4 x double], ptr %slot113, i64 %v150
  %v153 = load <4 x double>, ptr %v152, align 8
  %v154 = mul i64 %v4, 7
  %v155 = add i64 %v154, %v150
  %v156 = extractelement <4 x double> %v153, i64 0
  %v157 = add i64 %v155, 0
  %v158 = getelementptr double, ptr %out0, i64 %v157
  store double %v156, ptr %v158, align 8
  %v159 = extractelement <4 x double> %v153, i64 1
  %v160 = add i64 %v155, 7
  %v161 = getelementptr double, ptr %out0, i64 %v160
  store double %v159, ptr %v161, align 8
  %v162 = extractelement <4 x double> %v153, i64 2
  %v163 = add i64 %v155, 14
  %v164 = getelementptr double, ptr %out0, i64 %v163
  store double %v162, ptr %v164, align 8
  %v165 = extractelement <4 x double> %v153, i64 3
  %v166 = add i64 %v155, 21
  %v167 = getelementptr double, ptr %out0, i64 %v166
  store double %v165, ptr %v167, align 8
  %v168 = add i64 %v150, 1
  store i64 %v168, ptr %slot149, align 1
  br label %loop148
loop148.end:
  %v169 = getelementptr i64, ptr %out1, i64 %v4
  store <4 x i64> %v147, ptr %v169, align 8
  %v170 = add i64 %v4, 4
  store i64 %v170, ptr %slot3, align 1
  br label %loop2
loop2.end:
  %v171 = and i64 %n, -4
  store i64 %v171, ptr %slot173
  br label %loop172
loop172:
  %v174 = load i64, ptr %slot173, align 1
  %v175 = icmp slt i64 %v174, %n
  br i1 %v175, label %loop172.body, label %loop172.end
loop172.body:
  store i64 0, ptr %slot178
  br label %loop177
loop177:
  %v179 = load i64, ptr %slot178, align 1
  %v180 = icmp slt i64 %v179, 7
  br i1 %v180, label %loop177.body, label %loop177.end
loop177.body:
  %v181 = mul i64 %v174, 7
  %v182 = add i64 %v181, %v179
  %v183 = add i64 %v182, 0
  %v184 = getelementptr double, ptr %margins, i64 %v183
  %v185 = load double, ptr %v184, align 8
  %v186 = insertelement <1 x double> poison, double %v185, i64 0
  %v187 = getelementptr [1 x double], ptr %slot176, i64 %v179
  store <1 x double> %v186, ptr %v187, align 8
  %v188 = add i64 %v179, 1
  store i64 %v188, ptr %slot178, align 1
  br label %loop177
loop177.end:
  %v189 = getelementptr [1 x double], ptr %slot176, i64 0
  %v190 = load <1 x double>, ptr %v189, align 8
  store <1 x double> %v190, ptr %slot191
  store i64 1, ptr %slot193
  br label %loop192
loop192:
  %v194 = load i64, ptr %slot193, align 1
  %v195 = icmp slt i64 %v194, 7
  br i1 %v195, label %loop192.body, label %loop192.end
loop192.body:
  %v196 = getelementptr [1 x double], ptr %slot176, i64 %v194
  %v197 = load <1 x double>, ptr %v196, align 8
  %v198 = load <1 x double>, ptr %slot191, align 1
  %v199 = fcmp ugt <1 x double> %v197, %v198
  %v200 = select <1 x i1> %v199, <1 x double> %v197, <1 x double> %v198
  store <1 x double> %v200, ptr %slot191, align 1
  %v201 = add i64 %v194, 1
  store i64 %v201, ptr %slot193, align 1
  br label %loop192
loop192.end:
  %v202 = load <1 x double>, ptr %slot191, align 1
  store <1 x double> <double 0x0000000000000000>, ptr %slot203
  store i64 0, ptr %slot206
  br label %loop205
loop205:
  %v207 = load i64, ptr %slot206, align 1
  %v208 = icmp slt i64 %v207, 7
  br i1 %v208, label %loop205.body, label %loop205.end
loop205.body:
  %v209 = getelementptr [1 x double], ptr %slot176, i64 %v207
  %v210 = load <1 x double>, ptr %v209, align 8
  %v211 = fsub <1 x double> %v210, %v202
  %v212 = fcmp ogt <1 x double> %v211, <double 0x4086300000000000>
  %v213 = select <1 x i1> %v212, <1 x double> <double 0x4086300000000000>, <1 x double> %v211
  %v214 = fcmp olt <1 x double> %v213, <double 0xC087500000000000>
  %v215 = select <1 x i1> %v214, <1 x double> <double 0xC087500000000000>, <1 x double> %v213
  %v216 = fmul <1 x double> %v215, <double 0x3FF71547652B82FE>
  %v217 = fadd <1 x double> %v216, <double 0x4338000000000000>
  %v218 = fsub <1 x double> %v217, <double 0x4338000000000000>
  %v219 = fmul <1 x double> %v218, <double 0x3FE62E42FEE00000>
  %v220 = fsub <1 x double> %v215, %v219
  %v221 = fmul <1 x double> %v218, <double 0x3DEA39EF35793C76>
  %v222 = fsub <1 x double> %v220, %v221
  %v223 = fsub <1 x double> %v220, %v222
  %v224 = fsub <1 x double> %v223, %v221
  %v225 = fmul <1 x double> %v222, %v222
  %v226 = fmul <1 x double> <double 0x3DE6124613A86D09>, %v222
  %v227 = fadd <1 x double> %v226, <double 0x3E21EED8EFF8D898>
  %v228 = fmul <1 x double> %v227, %v222
  %v229 = fadd <1 x double> %v228, <double 0x3E5AE64567F544E4>
  %v230 = fmul <1 x double> %v229, %v222
  %v231 = fadd <1 x double> %v230, <double 0x3E927E4FB7789F5C>
  %v232 = fmul <1 x double> %v231, %v222
  %v233 = fadd <1 x double> %v232, <double 0x3EC71DE3A556C734>
  %v234 = fmul <1 x double> %v233, %v222
  %v235 = fadd <1 x double> %v234, <double 0x3EFA01A01A01A01A>
  %v236 = fmul <1 x double> %v235, %v222
  %v237 = fadd <1 x double> %v236, <double 0x3F2A01A01A01A01A>
  %v238 = fmul <1 x double> %v237, %v222
  %v239 = fadd <1 x double> %v238, <double 0x3F56C16C16C16C17>
  %v240 = fmul <1 x double> %v239, %v222
  %v241 = fadd <1 x double> %v240, <double 0x3F81111111111111>
  %v242 = fmul <1 x double> %v241, %v222
  %v243 = fadd <1 x double> %v242, <double 0x3FA5555555555555>
  %v244 = fmul <1 x double> %v243, %v222
  %v245 = fadd <1 x double> %v244, <double 0x3FC5555555555555>
  %v246 = fmul <1 x double> %v245, %v222
  %v247 = fadd <1 x double> %v246, <double 0x3FE0000000000000>
  %v248 = fmul <1 x double> %v225, %v247
  %v249 = fadd <1 x double> %v248, %v224
  %v250 = fadd <1 x double> %v222, %v249
  %v251 = fadd <1 x double> <double 0x3FF0000000000000>, %v250
  %v252 = fmul <1 x double> %v218, <double 0x3FE0000000000000>
  %v253 = fadd <1 x double> %v252, <double 0x4338000000000000>
  %v254 = fsub <1 x double> %v253, <double 0x4338000000000000>
  %v255 = fadd <1 x double> %v254, <double 0x43380000000003FF>
  %v256 = bitcast <1 x double> %v255 to <1 x i64>
  %v257 = shl <1 x i64> %v256, <i64 52>
  %v258 = bitcast <1 x i64> %v257 to <1 x double>
  %v259 = fmul <1 x double> %v251, %v258
  %v260 = fsub <1 x double> %v218, %v254
  %v261 = fadd <1 x double> %v260, <double 0x43380000000003FF>
  %v262 = bitcast <1 x double> %v261 to <1 x i64>
  %v263 = shl <1 x i64> %v262, <i64 52>
  %v264 = bitcast <1 x i64> %v263 to <1 x double>
  %v265 = fmul <1 x double> %v259, %v264
  %v266 = load <1 x double>, ptr %slot203, align 1
  %v267 = fadd <1 x double> %v266, %v265
  store <1 x double> %v267, ptr %slot203, align 1
  %v268 = getelementptr [1 x double], ptr %slot204, i64 %v207
  store <1 x double> %v265, ptr %v268, align 8
  %v269 = add i64 %v207, 1
  store i64 %v269, ptr %slot206, align 1
  br label %loop205
loop205.end:
  %v270 = load <1 x double>, ptr %slot203, align 1
  store i64 0, ptr %slot273
  br label %loop272
loop272:
  %v274 = load i64, ptr %slot273, align 1
  %v275 = icmp slt i64 %v274, 7
  br i1 %v275, label %loop272.body, label %loop272.end
loop272.body:
  %v276 = getelementptr [1 x double], ptr %slot204, i64 %v274
  %v277 = load <1 x double>, ptr %v276, align 8
  %v278 = fdiv <1 x double> %v277, %v270
  %v279 = getelementptr [1 x double], ptr %slot271, i64 %v274
  store <1 x double> %v278, ptr %v279, align 8
  %v280 = add i64 %v274, 1
  store i64 %v280, ptr %slot273, align 1
  br label %loop272
loop272.end:
  %v281 = getelementptr [1 x double], ptr %slot176, i64 0
  %v282 = load <1 x double>, ptr %v281, align 8
  store <1 x double> %v282, ptr %slot283
  store <1 x i32> zeroinitializer, ptr %slot284
  store i64 1, ptr %slot286
  br label %loop285
loop285:
  %v287 = load i64, ptr %slot286, align 1
  %v288 = icmp slt i64 %v287, 7
  br i1 %v288, label %loop285.body, label %loop285.end
loop285.body:
  %v289 = getelementptr [1 x double], ptr %slot176, i64 %v287
  %v290 = load <1 x double>, ptr %v289, align 8
  %v291 = load <1 x double>, ptr %slot283, align 1
  %v292 = fcmp ogt <1 x double> %v290, %v291
  %v293 = fcmp uno <1 x double> %v290, %v290
  %v294 = fcmp ord <1 x double> %v291, %v291
  %v295 = and <1 x i1> %v293, %v294
  %v296 = or <1 x i1> %v292, %v295
  %v297 = select <1 x i1> %v296, <1 x double> %v290, <1 x double> %v291
  store <1 x double> %v297, ptr %slot283, align 1
  %v298 = trunc i64 %v287 to i32
  %v299 = insertelement <1 x i32> poison, i32 %v298, i64 0
  %v300 = shufflevector <1 x i32> %v299, <1 x i32> poison, <1 x i32> <i32 0>
  %v301 = load <1 x i32>, ptr %slot284, align 1
  %v302 = select <1 x i1> %v296, <1 x i32> %v300, <1 x i32> %v301
  store <1 x i32> %v302, ptr %slot284, align 1
  %v303 = add i64 %v287, 1
  store i64 %v303, ptr %slot286, align 1
  br label %loop285
loop285.end:
  %v304 = load <1 x i32>, ptr %slot284, align 1
  %v305 = zext <1 x i32> %v304 to <1 x i64>
  store i64 0, ptr %slot307
  br label %loop306
loop306:
  %v308 = load i64, ptr %slot307, align 1
  %v309 = icmp slt i64 %v308, 7
  br i1 %v309, label %loop306.body, label %loop306.end
loop306.body:
  %v310 = getelementptr [1 x double], ptr %slot271, i64 %v308
  %v311 = load <1 x double>, ptr %v310, align 8
  %v312 = mul i64 %v174, 7
  %v313 = add i64 %v312, %v308
  %v314 = extractelement <1 x double> %v311, i64 0
  %v315 = add i64 %v313, 0
  %v316 = getelementptr double, ptr %out0, i64 %v315
  store double %v314, ptr %v316, align 8
  %v317 = add i64 %v308, 1
  store i64 %v317, ptr %slot307, align 1
  br label %loop306
loop306.end:
  %v318 = getelementptr i64, ptr %out1, i64 %v174
  store <1 x i64> %v305, ptr %v318, align 8
  %v319 = add i64 %v174, 1
  store i64 %v319, ptr %slot173, align 1
  br label %loop172
loop172.end:
  ret void
}

define void @neoc_finish(ptr %args) nounwind "no-builtins" {
entry:
  br label %start
start:
  %v1 = getelementptr i64, ptr %args, i64 2
  %v2 = load i64, ptr %v1, align 8
  %v3 = getelementptr i64, ptr %args, i64 3
  %v4 = load i64, ptr %v3, align 8
  %v5 = getelementptr i64, ptr %args, i64 5
  %v6 = load i64, ptr %v5, align 8
  %v7 = getelementptr i64, ptr %args, i64 6
  %v8 = load i64, ptr %v7, align 8
  %v9 = icmp ne i64 %v6, 0
  br i1 %v9, label %when10, label %when10.end
when10:
  %v11 = inttoptr i64 %v6 to ptr
  call void %v11(ptr %args)
  br label %when10.end
when10.end:
  %v12 = inttoptr i64 %v4 to ptr
  %v13 = icmp eq i64 %v8, 0
  br i1 %v13, label %when14, label %when14.end
when14:
  %v15 = getelementptr i64, ptr %args, i64 7
  %v16 = load i64, ptr %v15, align 8
  %v17 = inttoptr i64 %v16 to ptr
  %v18 = getelementptr i64, ptr %args, i64 8
  %v19 = load i64, ptr %v18, align 8
  %v20 = inttoptr i64 %v19 to ptr
  call void @finish_0(ptr %v12, i64 %v2, ptr %v17, ptr %v20)
  br label %when14.end
when14.end:
  %v21 = icmp eq i64 %v8, 1
  br i1 %v21, label %when22, label %when22.end
when22:
  %v23 = getelementptr i64, ptr %args, i64 7
  %v24 = load i64, ptr %v23, align 8
  %v25 = inttoptr i64 %v24 to ptr
  call void @finish_1(ptr %v12, i64 %v2, ptr %v25)
  br label %when22.end
when22.end:
  %v26 = icmp eq i64 %v8, 2
  br i1 %v26, label %when27, label %when27.end
when27:
  %v28 = getelementptr i64, ptr %args, i64 7
  %v29 = load i64, ptr %v28, align 8
  %v30 = inttoptr i64 %v29 to ptr
  call void @finish_2(ptr %v12, i64 %v2, ptr %v30)
  br label %when27.end
when27.end:
  ret void
}
