; globals: as on x86-64-v2

define internal void @finish_0(ptr %margins, i64 %n, ptr noalias %out0, ptr noalias %out1, ptr noalias %out2) nounwind "no-builtins" {
entry:
  %slot3 = alloca i64
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
  %v6 = getelementptr float, ptr %margins, i64 %v4
  %v7 = load <1 x float>, ptr %v6, align 4
  %v8 = fneg <1 x float> %v7
  %v9 = fpext <1 x float> %v8 to <1 x double>
  %v10 = fcmp ogt <1 x double> %v9, <double 0x4086300000000000>
  %v11 = select <1 x i1> %v10, <1 x double> <double 0x4086300000000000>, <1 x double> %v9
  %v12 = fcmp olt <1 x double> %v11, <double 0xC087500000000000>
  %v13 = select <1 x i1> %v12, <1 x double> <double 0xC087500000000000>, <1 x double> %v11
  %v14 = fmul <1 x double> %v13, <double 0x3FF71547652B82FE>
  %v15 = fadd <1 x double> %v14, <double 0x4338000000000000>
  %v16 = fsub <1 x double> %v15, <double 0x4338000000000000>
  %v17 = fmul <1 x double> %v16, <double 0x3FE62E42FEE00000>
  %v18 = fsub <1 x double> %v13, %v17
  %v19 = fmul <1 x double> %v16, <double 0x3DEA39EF35793C76>
  %v20 = fsub <1 x double> %v18, %v19
  %v21 = fsub <1 x double> %v18, %v20
  %v22 = fsub <1 x double> %v21, %v19
  %v23 = fmul <1 x double> %v20, %v20
  %v24 = fmul <1 x double> <double 0x3EC71DE3A556C734>, %v20
  %v25 = fadd <1 x double> %v24, <double 0x3EFA01A01A01A01A>
  %v26 = fmul <1 x double> %v25, %v20
  %v27 = fadd <1 x double> %v26, <double 0x3F2A01A01A01A01A>
  %v28 = fmul <1 x double> %v27, %v20
  %v29 = fadd <1 x double> %v28, <double 0x3F56C16C16C16C17>
  %v30 = fmul <1 x double> %v29, %v20
  %v31 = fadd <1 x double> %v30, <double 0x3F81111111111111>
  %v32 = fmul <1 x double> %v31, %v20
  %v33 = fadd <1 x double> %v32, <double 0x3FA5555555555555>
  %v34 = fmul <1 x double> %v33, %v20
  %v35 = fadd <1 x double> %v34, <double 0x3FC5555555555555>
  %v36 = fmul <1 x double> %v35, %v20
  %v37 = fadd <1 x double> %v36, <double 0x3FE0000000000000>
  %v38 = fmul <1 x double> %v23, %v37
  %v39 = fadd <1 x double> %v38, %v22
  %v40 = fadd <1 x double> %v20, %v39
  %v41 = fadd <1 x double> <double 0x3FF0000000000000>, %v40
  %v42 = fmul <1 x double> %v16, <double 0x3FE0000000000000>
  %v43 = fadd <1 x double> %v42, <double 0x4338000000000000>
  %v44 = fsub <1 x double> %v43, <double 0x4338000000000000>
  %v45 = fadd <1 x double> %v44, <double 0x43380000000003FF>
  %v46 = bitcast <1 x double> %v45 to <1 x i64>
  %v47 = shl <1 x i64> %v46, <i64 52>
  %v48 = bitcast <1 x i64> %v47 to <1 x double>
  %v49 = fmul <1 x double> %v41, %v48
  %v50 = fsub <1 x double> %v16, %v44
  %v51 = fadd <1 x double> %v50, <double 0x43380000000003FF>
  %v52 = bitcast <1 x double> %v51 to <1 x i64>
  %v53 = shl <1 x i64> %v52, <i64 52>
  %v54 = bitcast <1 x i64> %v53 to <1 x double>
  %v55 = fmul <1 x double> %v49, %v54
  %v56 = fptrunc <1 x double> %v55 to <1 x float>
  %v57 = fadd <1 x float> <float 0x3FF0000000000000>, %v56
  %v58 = fdiv <1 x float> <float 0x3FF0000000000000>, %v57
  %v59 = fcmp ogt <1 x float> %v58, <float 0x3FE0000000000000>
  %v60 = zext <1 x i1> %v59 to <1 x i64>
  %v61 = fsub <1 x float> <float 0x3FF0000000000000>, %v58
  %v62 = getelementptr float, ptr %out0, i64 %v4
  store <1 x float> %v58, ptr %v62, align 4
  %v63 = getelementptr i64, ptr %out1, i64 %v4
  store <1 x i64> %v60, ptr %v63, align 8
  %v64 = mul i64 %v4, 2
  %v65 = add i64 %v64, 0
  %v66 = extractelement <1 x float> %v61, i64 0
  %v67 = add i64 %v65, 0
  %v68 = getelementptr float, ptr %out2, i64 %v67
  store float %v66, ptr %v68, align 4
  %v69 = mul i64 %v4, 2
  %v70 = add i64 %v69, 1
  %v71 = extractelement <1 x float> %v58, i64 0
  %v72 = add i64 %v70, 0
  %v73 = getelementptr float, ptr %out2, i64 %v72
  store float %v71, ptr %v73, align 4
  %v74 = add i64 %v4, 1
  store i64 %v74, ptr %slot3, align 1
  br label %loop2
loop2.end:
  ret void
}

; neoc_finish: as on x86-64-v2
