; ranks: as on x86-64-v2

; lines: as on x86-64-v2

; add_leaves2: as on x86-64-v2

; trees: as on x86-64-v2

; row: as on x86-64-v2

; block: as on x86-64-v2

; neoc_trees: as on x86-64-v2
