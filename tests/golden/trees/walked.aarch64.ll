; walk: as on x86-64-v2

; walk_rows: as on x86-64-v2

; add_walked: as on x86-64-v2

; trees: as on x86-64-v2
