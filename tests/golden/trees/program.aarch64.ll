; lines: as on x86-64-v2

; add_leaves6: as on x86-64-v2

; trees: as on x86-64-v2
