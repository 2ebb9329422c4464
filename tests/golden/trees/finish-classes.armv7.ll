; globals: as on x86-64-v2

define internal void @finish_0(ptr %margins, i64 %n, ptr noalias %out0, ptr noalias %out1) nounwind "no-builtins" {
entry:
  %slot3 = alloca i64
  %slot6 = alloca [7 x double], align 64
  %slot8 = alloca i64
  %slot21 = alloca <1 x double>
  %slot23 = alloca i64
  %slot33 = alloca <1 x double>
  %slot34 = alloca [7 x double], align 64
  %slot36 = alloca i64
  %slot101 = alloca [7 x double], align 64
  %slot103 = alloca i64
  %slot113 = alloca <1 x double>
  %slot114 = alloca <1 x i32>
  %slot116 = alloca i64
  %slot137 = alloca i64
  br label %start
start:
  %v1 = add i64 %n, 0
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
  %v16 = insertelement <1 x double> poison, double %v15, i64 0
  %v17 = getelementptr [1 x double], ptr %slot6, i64 %v9
  store <1 x double> %v16, ptr %v17, align 8
  %v18 = add i64 %v9, 1
  store i64 %v18, ptr %slot8, align 1
  br label %loop7
loop7.end:
  %v19 = getelementptr [1 x double], ptr %slot6, i64 0
  %v20 = load <1 x double>, ptr %v19, align 8
  store <1 x double> %v20, ptr %slot21
  store i64 1, ptr %slot23
  br label %loop22
loop22:
  %v24 = load i64, ptr %slot23, align 1
  %v25 = icmp slt i64 %v24, 7
  br i1 %v25, label %loop22.body, label %loop22.end
loop22.body:
  %v26 = getelementptr [1 x double], ptr %slot6, i64 %v24
  %v27 = load <1 x double>, ptr %v26, align 8
  %v28 = load <1 x double>, ptr %slot21, align 1
  %v29 = fcmp ugt <1 x double> %v27, %v28
  %v30 = select <1 x i1> %v29, <1 x double> %v27, <1 x double> %v28
  store <1 x double> %v30, ptr %slot21, align 1
  %v31 = add i64 %v24, 1
  store i64 %v31, ptr %slot23, align 1
  br label %loop22
loop22.end:
  %v32 = load <1 x double>, ptr %slot21, align 1
  store <1 x double> <double 0x0000000000000000>, ptr %slot33
  store i64 0, ptr %slot36
  br label %loop35
loop35:
  %v37 = load i64, ptr %slot36, align 1
  %v38 = icmp slt i64 %v37, 7
  br i1 %v38, label %loop35.body, label %loop35.end
loop35.body:
  %v39 = getelementptr [1 x double], ptr %slot6, i64 %v37
  %v40 = load <1 x double>, ptr %v39, align 8
  %v41 = fsub <1 x double> %v40, %v32
  %v42 = fcmp ogt <1 x double> %v41, <double 0x4086300000000000>
  %v43 = select <1 x i1> %v42, <1 x double> <double 0x4086300000000000>, <1 x double> %v41
  %v44 = fcmp olt <1 x double> %v43, <double 0xC087500000000000>
  %v45 = select <1 x i1> %v44, <1 x double> <double 0xC087500000000000>, <1 x double> %v43
  %v46 = fmul <1 x double> %v45, <double 0x3FF71547652B82FE>
  %v47 = fadd <1 x double> %v46, <double 0x4338000000000000>
  %v48 = fsub <1 x double> %v47, <double 0x4338000000000000>
  %v49 = fmul <1 x double> %v48, <double 0x3FE62E42FEE00000>
  %v50 = fsub <1 x double> %v45, %v49
  %v51 = fmul <1 x double> %v48, <double 0x3DEA39EF35793C76>
  %v52 = fsub <1 x double> %v50, %v51
  %v53 = fsub <1 x double> %v50, %v52
  %v54 = fsub <1 x double> %v53, %v51
  %v55 = fmul <1 x double> %v52, %v52
  %v56 = fmul <1 x double> <double 0x3DE6124613A86D09>, %v52
  %v57 = fadd <1 x double> %v56, <double 0x3E21EED8EFF8D898>
  %v58 = fmul <1 x double> %v57, %v52
  %v59 = fadd <1 x double> %v58, <double 0x3E5AE64567F544E4>
  %v60 = fmul <1 x double> %v59, %v52
  %v61 = fadd <1 x double> %v60, <double 0x3E927E4FB7789F5C>
  %v62 = fmul <1 x double> %v61, %v52
  %v63 = fadd <1 x double> %v62, <double 0x3EC71DE3A556C734>
  %v64 = fmul <1 x double> %v63, %v52
  %v65 = fadd <1 x double> %v64, <double 0x3EFA01A01A01A01A>
  %v66 = fmul <1 x double> %v65, %v52
  %v67 = fadd <1 x double> %v66, <double 0x3F2A01A01A01A01A>
  %v68 = fmul <1 x double> %v67, %v52
  %v69 = fadd <1 x double> %v68, <double 0x3F56C16C16C16C17>
  %v70 = fmul <1 x double> %v69, %v52
  %v71 = fadd <1 x double> %v70, <double 0x3F81111111111111>
  %v72 = fmul <1 x double> %v71, %v52
  %v73 = fadd <1 x double> %v72, <double 0x3FA5555555555555>
  %v74 = fmul <1 x double> %v73, %v52
  %v75 = fadd <1 x double> %v74, <double 0x3FC5555555555555>
  %v76 = fmul <1 x double> %v75, %v52
  %v77 = fadd <1 x double> %v76, <double 0x3FE0000000000000>
  %v78 = fmul <1 x double> %v55, %v77
  %v79 = fadd <1 x double> %v78, %v54
  %v80 = fadd <1 x double> %v52, %v79
  %v81 = fadd <1 x double> <double 0x3FF0000000000000>, %v80
  %v82 = fmul <1 x double> %v48, <double 0x3FE0000000000000>
  %v83 = fadd <1 x double> %v82, <double 0x4338000000000000>
  %v84 = fsub <1 x double> %v83, <double 0x4338000000000000>
  %v85 = fadd <1 x double> %v84, <double 0x43380000000003FF>
  %v86 = bitcast <1 x double> %v85 to <1 x i64>
  %v87 = shl <1 x i64> %v86, <i64 52>
  %v88 = bitcast <1 x i64> %v87 to <1 x double>
  %v89 = fmul <1 x double> %v81, %v88
  %v90 = fsub <1 x double> %v48, %v84
  %v91 = fadd <1 x double> %v90, <double 0x43380000000003FF>
  %v92 = bitcast <1 x double> %v91 to <1 x i64>
  %v93 = shl <1 x i64> %v92, <i64 52>
  %v94 = bitcast <1 x i64> %v93 to <1 x double>
  %v95 = fmul <1 x double> %v89, %v94
  %v96 = load <1 x double>, ptr %slot33, align 1
  %v97 = fadd <1 x double> %v96, %v95
  store <1 x double> %v97, ptr %slot33, align 1
  %v98 = getelementptr [1 x double], ptr %slot34, i64 %v37
  store <1 x double> %v95, ptr %v98, align 8
  %v99 = add i64 %v37, 1
  store i64 %v99, ptr %slot36, align 1
  br label %loop35
loop35.end:
  %v100 = load <1 x double>, ptr %slot33, align 1
  store i64 0, ptr %slot103
  br label %loop102
loop102:
  %v104 = load i64, ptr %slot103, align 1
  %v105 = icmp slt i64 %v104, 7
  br i1 %v105, label %loop102.body, label %loop102.end
loop102.body:
  %v106 = getelementptr [1 x double], ptr %slot34, i64 %v104
  %v107 = load <1 x double>, ptr %v106, align 8
  %v108 = fdiv <1 x double> %v107, %v100
  %v109 = getelementptr [1 x double], ptr %slot101, i64 %v104
  store <1 x double> %v108, ptr %v109, align 8
  %v110 = add i64 %v104, 1
  store i64 %v110, ptr %slot103, align 1
  br label %loop102
loop102.end:
  %v111 = getelementptr [1 x double], ptr %slot6, i64 0
  %v112 = load <1 x double>, ptr %v111, align 8
  store <1 x double> %v112, ptr %slot113
  store <1 x i32> zeroinitializer, ptr %slot114
  store i64 1, ptr %slot116
  br label %loop115
loop115:
  %v117 = load i64, ptr %slot116, align 1
  %v118 = icmp slt i64 %v117, 7
  br i1 %v118, label %loop115.body, label %loop115.end
loop115.body:
  %v119 = getelementptr [1 x double], ptr %slot6, i64 %v117
  %v120 = load <1 x double>, ptr %v119, align 8
  %v121 = load <1 x double>, ptr %slot113, align 1
  %v122 = fcmp ogt <1 x double> %v120, %v121
  %v123 = fcmp uno <1 x double> %v120, %v120
  %v124 = fcmp ord <1 x double> %v121, %v121
  %v125 = and <1 x i1> %v123, %v124
  %v126 = or <1 x i1> %v122, %v125
  %v127 = select <1 x i1> %v126, <1 x double> %v120, <1 x double> %v121
  store <1 x double> %v127, ptr %slot113, align 1
  %v128 = trunc i64 %v117 to i32
  %v129 = insertelement <1 x i32> poison, i32 %v128, i64 0
  %v130 = shufflevector <1 x i32> %v129, <1 x i32> poison, <1 x i32> <i32 0>
  %v131 = load <1 x i32>, ptr %slot114, align 1
  %v132 = select <1 x i1> %v126, <1 x i32> %v130, <1 x i32> %v131
  store <1 x i32> %v132, ptr %slot114, align 1
  %v133 = add i64 %v117, 1
  store i64 %v133, ptr %slot116, align 1
  br label %loop115
loop115.end:
  %v134 = load <1 x i32>, ptr %slot114, align 1
  %v135 = zext <1 x i32> %v134 to <1 x i64>
  store i64 0, ptr %slot137
  br label %loop136
loop136:
  %v138 = load i64, ptr %slot137, align 1
  %v139 = icmp slt i64 %v138, 7
  br i1 %v139, label %loop136.body, label %loop136.end
loop136.body:
  %v140 = getelementptr [1 x double], ptr %slot101, i64 %v138
  %v141 = load <1 x double>, ptr %v140, align 8
  %v142 = mul i64 %v4, 7
  %v143 = add i64 %v142, %v138
  %v144 = extractelement <1 x double> %v141, i64 0
  %v145 = add i64 %v143, 0
  %v146 = getelementptr double, ptr %out0, i64 %v145
  store double %v144, ptr %v146, align 8
  %v147 = add i64 %v138, 1
  store i64 %v147, ptr %slot137, align 1
  br label %loop136
loop136.end:
  %v148 = getelementptr i64, ptr %out1, i64 %v4
  store <1 x i64> %v135, ptr %v148, align 8
  %v149 = add i64 %v4, 1
  store i64 %v149, ptr %slot3, align 1
  br label %loop2
loop2.end:
  ret void
}

; neoc_finish: as on x86-64-v2
