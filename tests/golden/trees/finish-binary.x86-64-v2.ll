define internal void @finish_0(ptr %margins, i64 %n, ptr noalias %out0, ptr noalias %out1, ptr noalias %out2) nounwind "no-builtins" {
entry:
  %slot3 = alloca i64
  %slot95 = alloca i64
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
  %v6 = getelementptr float, ptr %margins, i64 %v4
  %v7 = load <4 x float>, ptr %v6, align 4
  %v8 = fneg <4 x float> %v7
  %v9 = fpext <4 x float> %v8 to <4 x double>
  %v10 = fcmp ogt <4 x double> %v9, <double 0x4086300000000000, double 0x4086300000000000, double 0x4086300000000000, double 0x4086300000000000>
  %v11 = select <4 x i1> %v10, <4 x double> <double 0x4086300000000000, double 0x4086300000000000, double 0x4086300000000000, double 0x4086300000000000>, <4 x double> %v9
  %v12 = fcmp olt <4 x double> %v11, <double 0xC087500000000000, double 0xC087500000000000, double 0xC087500000000000, double 0xC087500000000000>
  %v13 = select <4 x i1> %v12, <4 x double> <double 0xC087500000000000, double 0xC087500000000000, double 0xC087500000000000, double 0xC087500000000000>, <4 x double> %v11
  %v14 = fmul <4 x double> %v13, <double 0x3FF71547652B82FE, double 0x3FF71547652B82FE, double 0x3FF71547652B82FE, double 0x3FF71547652B82FE>
  %v15 = fadd <4 x double> %v14, <double 0x4338000000000000, double 0x4338000000000000, double 0x4338000000000000, double 0x4338000000000000>
  %v16 = fsub <4 x double> %v15, <double 0x4338000000000000, double 0x4338000000000000, double 0x4338000000000000, double 0x4338000000000000>
  %v17 = fmul <4 x double> %v16, <double 0x3FE62E42FEE00000, double 0x3FE62E42FEE00000, double 0x3FE62E42FEE00000, double 0x3FE62E42FEE00000>
  %v18 = fsub <4 x double> %v13, %v17
  %v19 = fmul <4 x double> %v16, <double 0x3DEA39EF35793C76, double 0x3DEA39EF35793C76, double 0x3DEA39EF35793C76, double 0x3DEA39EF35793C76>
  %v20 = fsub <4 x double> %v18, %v19
  %v21 = fsub <4 x double> %v18, %v20
  %v22 = fsub <4 x double> %v21, %v19
  %v23 = fmul <4 x double> %v20, %v20
  %v24 = fmul <4 x double> <double 0x3EC71DE3A556C734, double 0x3EC71DE3A556C734, double 0x3EC71DE3A556C734, double 0x3EC71DE3A556C734>, %v20
  %v25 = fadd <4 x double> %v24, <double 0x3EFA01A01A01A01A, double 0x3EFA01A01A01A01A, double 0x3EFA01A01A01A01A, double 0x3EFA01A01A01A01A>
  %v26 = fmul <4 x double> %v25, %v20
  %v27 = fadd <4 x double> %v26, <double 0x3F2A01A01A01A01A, double 0x3F2A01A01A01A01A, double 0x3F2A01A01A01A01A, double 0x3F2A01A01A01A01A>
  %v28 = fmul <4 x double> %v27, %v20
  %v29 = fadd <4 x double> %v28, <double 0x3F56C16C16C16C17, double 0x3F56C16C16C16C17, double 0x3F56C16C16C16C17, double 0x3F56C16C16C16C17>
  %v30 = fmul <4 x double> %v29, %v20
  %v31 = fadd <4 x double> %v30, <double 0x3F81111111111111, double 0x3F81111111111111, double 0x3F81111111111111, double 0x3F81111111111111>
  %v32 = fmul <4 x double> %v31, %v20
  %v33 = fadd <4 x double> %v32, <double 0x3FA5555555555555, double 0x3FA5555555555555, double 0x3FA5555555555555, double 0x3FA5555555555555>
  %v34 = fmul <4 x double> %v33, %v20
  %v35 = fadd <4 x double> %v34, <double 0x3FC5555555555555, double 0x3FC5555555555555, double 0x3FC5555555555555, double 0x3FC5555555555555>
  %v36 = fmul <4 x double> %v35, %v20
  %v37 = fadd <4 x double> %v36, <double 0x3FE0000000000000, double 0x3FE0000000000000, double 0x3FE0000000000000, double 0x3FE0000000000000>
  %v38 = fmul <4 x double> %v23, %v37
  %v39 = fadd <4 x double> %v38, %v22
  %v40 = fadd <4 x double> %v20, %v39
  %v41 = fadd <4 x double> <double 0x3FF0000000000000, double 0x3FF0000000000000, double 0x3FF0000000000000, double 0x3FF0000000000000>, %v40
  %v42 = fmul <4 x double> %v16, <double 0x3FE0000000000000, double 0x3FE0000000000000, double 0x3FE0000000000000, double 0x3FE0000000000000>
  %v43 = fadd <4 x double> %v42, <double 0x4338000000000000, double 0x4338000000000000, double 0x4338000000000000, double 0x4338000000000000>
  %v44 = fsub <4 x double> %v43, <double 0x4338000000000000, double 0x4338000000000000, double 0x4338000000000000, double 0x4338000000000000>
  %v45 = fadd <4 x double> %v44, <double 0x43380000000003FF, double 0x43380000000003FF, double 0x43380000000003FF, double 0x43380000000003FF>
  %v46 = bitcast <4 x double> %v45 to <4 x i64>
  %v47 = shl <4 x i64> %v46, <i64 52, i64 52, i64 52, i64 52>
  %v48 = bitcast <4 x i64> %v47 to <4 x double>
  %v49 = fmul <4 x double> %v41, %v48
  %v50 = fsub <4 x double> %v16, %v44
  %v51 = fadd <4 x double> %v50, <double 0x43380000000003FF, double 0x43380000000003FF, double 0x43380000000003FF, double 0x43380000000003FF>
  %v52 = bitcast <4 x double> %v51 to <4 x i64>
  %v53 = shl <4 x i64> %v52, <i64 52, i64 52, i64 52, i64 52>
  %v54 = bitcast <4 x i64> %v53 to <4 x double>
  %v55 = fmul <4 x double> %v49, %v54
  %v56 = fptrunc <4 x double> %v55 to <4 x float>
  %v57 = fadd <4 x float> <float 0x3FF0000000000000, float 0x3FF0000000000000, float 0x3FF0000000000000, float 0x3FF0000000000000>, %v56
  %v58 = fdiv <4 x float> <float 0x3FF0000000000000, float 0x3FF0000000000000, float 0x3FF0000000000000, float 0x3FF0000000000000>, %v57
  %v59 = fcmp ogt <4 x float> %v58, <float 0x3FE0000000000000, float 0x3FE0000000000000, float 0x3FE0000000000000, float 0x3FE0000000000000>
  %v60 = zext <4 x i1> %v59 to <4 x i64>
  %v61 = fsub <4 x float> <float 0x3FF0000000000000, float 0x3FF0000000000000, float 0x3FF0000000000000, float 0x3FF0000000000000>, %v58
  %v62 = getelementptr float, ptr %out0, i64 %v4
  store <4 x float> %v58, ptr %v62, align 4
  %v63 = getelementptr i64, ptr %out1, i64 %v4
  store <4 x i64> %v60, ptr %v63, align 8
  %v64 = mul i64 %v4, 2
  %v65 = add i64 %v64, 0
  %v66 = extractelement <4 x float> %v61, i64 0
  %v67 = add i64 %v65, 0
  %v68 = getelementptr float, ptr %out2, i64 %v67
  store float %v66, ptr %v68, align 4
  %v69 = extractelement <4 x float> %v61, i64 1
  %v70 = add i64 %v65, 2
  %v71 = getelementptr float, ptr %out2, i64 %v70
  store float %v69, ptr %v71, align 4
  %v72 = extractelement <4 x float> %v61, i64 2
  %v73 = add i64 %v65, 4
  %v74 = getelementptr float, ptr %out2, i64 %v73
  store float %v72, ptr %v74, align 4
  %v75 = extractelement <4 x float> %v61, i64 3
  %v76 = add i64 %v65, 6
  %v77 = getelementptr float, ptr %out2, i64 %v76
  store float %v75, ptr %v77, align 4
  %v78 = mul i64 %v4, 2
  %v79 = add i64 %v78, 1
  %v80 = extractelement <4 x float> %v58, i64 0
  %v81 = add i64 %v79, 0
  %v82 = getelementptr float, ptr %out2, i64 %v81
  store float %v80, ptr %v82, align 4
  %v83 = extractelement <4 x float> %v58, i64 1
  %v84 = add i64 %v79, 2
  %v85 = getelementptr float, ptr %out2, i64 %v84
  store float %v83, ptr %v85, align 4
  %v86 = extractelement <4 x float> %v58, i64 2
  %v87 = add i64 %v79, 4
  %v88 = getelementptr float, ptr %out2, i64 %v87
  store float %v86, ptr %v88, align 4
  %v89 = extractelement <4 x float> %v58, i64 3
  %v90 = add i64 %v79, 6
  %v91 = getelementptr float, ptr %out2, i64 %v90
  store float %v89, ptr %v91, align 4
  %v92 = add i64 %v4, 4
  store i64 %v92, ptr %slot3, align 1
  br label %loop2
loop2.end:
  %v93 = and i64 %n, -4
  store i64 %v93, ptr %slot95
  br label %loop94
loop94:
  %v96 = load i64, ptr %slot95, align 1
  %v97 = icmp slt i64 %v96, %n
  br i1 %v97, label %loop94.body, label %loop94.end
loop94.body:
  %v98 = getelementptr float, ptr %margins, i64 %v96
  %v99 = load <1 x float>, ptr %v98, align 4
  %v100 = fneg <1 x float> %v99
  %v101 = fpext <1 x float> %v100 to <1 x double>
  %v102 = fcmp ogt <1 x double> %v101, <double 0x4086300000000000>
  %v103 = select <1 x i1> %v102, <1 x double> <double 0x4086300000000000>, <1 x double> %v101
  %v104 = fcmp olt <1 x double> %v103, <double 0xC087500000000000>
  %v105 = select <1 x i1> %v104, <1 x double> <double 0xC087500000000000>, <1 x double> %v103
  %v106 = fmul <1 x double> %v105, <double 0x3FF71547652B82FE>
  %v107 = fadd <1 x double> %v106, <double 0x4338000000000000>
  %v108 = fsub <1 x double> %v107, <double 0x4338000000000000>
  %v109 = fmul <1 x double> %v108, <double 0x3FE62E42FEE00000>
  %v110 = fsub <1 x double> %v105, %v109
  %v111 = fmul <1 x double> %v108, <double 0x3DEA39EF35793C76>
  %v112 = fsub <1 x double> %v110, %v111
  %v113 = fsub <1 x double> %v110, %v112
  %v114 = fsub <1 x double> %v113, %v111
  %v115 = fmul <1 x double> %v112, %v112
  %v116 = fmul <1 x double> <double 0x3EC71DE3A556C734>, %v112
  %v117 = fadd <1 x double> %v116, <double 0x3EFA01A01A01A01A>
  %v118 = fmul <1 x double> %v117, %v112
  %v119 = fadd <1 x double> %v118, <double 0x3F2A01A01A01A01A>
  %v120 = fmul <1 x double> %v119, %v112
  %v121 = fadd <1 x double> %v120, <double 0x3F56C16C16C16C17>
  %v122 = fmul <1 x double> %v121, %v112
  %v123 = fadd <1 x double> %v122, <double 0x3F81111111111111>
  %v124 = fmul <1 x double> %v123, %v112
  %v125 = fadd <1 x double> %v124, <double 0x3FA5555555555555>
  %v126 = fmul <1 x double> %v125, %v112
  %v127 = fadd <1 x double> %v126, <double 0x3FC5555555555555>
  %v128 = fmul <1 x double> %v127, %v112
  %v129 = fadd <1 x double> %v128, <double 0x3FE0000000000000>
  %v130 = fmul <1 x double> %v115, %v129
  %v131 = fadd <1 x double> %v130, %v114
  %v132 = fadd <1 x double> %v112, %v131
  %v133 = fadd <1 x double> <double 0x3FF0000000000000>, %v132
  %v134 = fmul <1 x double> %v108, <double 0x3FE0000000000000>
  %v135 = fadd <1 x double> %v134, <double 0x4338000000000000>
  %v136 = fsub <1 x double> %v135, <double 0x4338000000000000>
  %v137 = fadd <1 x double> %v136, <double 0x43380000000003FF>
  %v138 = bitcast <1 x double> %v137 to <1 x i64>
  %v139 = shl <1 x i64> %v138, <i64 52>
  %v140 = bitcast <1 x i64> %v139 to <1 x double>
  %v141 = fmul <1 x double> %v133, %v140
  %v142 = fsub <1 x double> %v108, %v136
  %v143 = fadd <1 x double> %v142, <double 0x43380000000003FF>
  %v144 = bitcast <1 x double> %v143 to <1 x i64>
  %v145 = shl <1 x i64> %v144, <i64 52>
  %v146 = bitcast <1 x i64> %v145 to <1 x double>
  %v147 = fmul <1 x double> %v141, %v146
  %v148 = fptrunc <1 x double> %v147 to <1 x float>
  %v149 = fadd <1 x float> <float 0x3FF0000000000000>, %v148
  %v150 = fdiv <1 x float> <float 0x3FF0000000000000>, %v149
  %v151 = fcmp ogt <1 x float> %v150, <float 0x3FE0000000000000>
  %v152 = zext <1 x i1> %v151 to <1 x i64>
  %v153 = fsub <1 x float> <float 0x3FF0000000000000>, %v150
  %v154 = getelementptr float, ptr %out0, i64 %v96
  store <1 x float> %v150, ptr %v154, align 4
  %v155 = getelementptr i64, ptr %out1, i64 %v96
  store <1 x i64> %v152, ptr %v155, align 8
  %v156 = mul i64 %v96, 2
  %v157 = add i64 %v156, 0
  %v158 = extractelement <1 x float> %v153, i64 0
  %v159 = add i64 %v157, 0
  %v160 = getelementptr float, ptr %out2, i64 %v159
  store float %v158, ptr %v160, align 4
  %v161 = mul i64 %v96, 2
  %v162 = add i64 %v161, 1
  %v163 = extractelement <1 x float> %v150, i64 0
  %v164 = add i64 %v162, 0
  %v165 = getelementptr float, ptr %out2, i64 %v164
  store float %v163, ptr %v165, align 4
  %v166 = add i64 %v96, 1
  store i64 %v166, ptr %slot95, align 1
  br label %loop94
loop94.end:
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
  %v21 = getelementptr i64, ptr %args, i64 9
  %v22 = load i64, ptr %v21, align 8
  %v23 = inttoptr i64 %v22 to ptr
  call void @finish_0(ptr %v12, i64 %v2, ptr %v17, ptr %v20, ptr %v23)
  br label %when14.end
when14.end:
  %v24 = icmp eq i64 %v8, 1
  br i1 %v24, label %when25, label %when25.end
when25:
  %v26 = getelementptr i64, ptr %args, i64 7
  %v27 = load i64, ptr %v26, align 8
  %v28 = inttoptr i64 %v27 to ptr
  call void @finish_1(ptr %v12, i64 %v2, ptr %v28)
  br label %when25.end
when25.end:
  %v29 = icmp eq i64 %v8, 2
  br i1 %v29, label %when30, label %when30.end
when30:
  %v31 = getelementptr i64, ptr %args, i64 7
  %v32 = load i64, ptr %v31, align 8
  %v33 = inttoptr i64 %v32 to ptr
  call void @finish_2(ptr %v12, i64 %v2, ptr %v33)
  br label %when30.end
when30.end:
  %v34 = icmp eq i64 %v8, 3
  br i1 %v34, label %when35, label %when35.end
when35:
  %v36 = getelementptr i64, ptr %args, i64 7
  %v37 = load i64, ptr %v36, align 8
  %v38 = inttoptr i64 %v37 to ptr
  call void @finish_3(ptr %v12, i64 %v2, ptr %v38)
  br label %when35.end
when35.end:
  ret void
}
