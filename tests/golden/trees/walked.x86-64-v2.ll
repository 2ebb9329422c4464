define internal void @walk(ptr %nodes, ptr %at, ptr %row) nounwind "no-builtins" {
entry:
  %slot19 = alloca i64
  %slot22 = alloca i64
  %slot25 = alloca i64
  %slot28 = alloca i64
  %slot31 = alloca i64
  %slot34 = alloca i64
  %slot37 = alloca i64
  %slot40 = alloca i64
  br label %start
start:
  %v1 = getelementptr ptr, ptr %row, i64 0
  %v2 = load ptr, ptr %v1, align 8
  %v3 = getelementptr ptr, ptr %row, i64 1
  %v4 = load ptr, ptr %v3, align 8
  %v5 = getelementptr ptr, ptr %row, i64 2
  %v6 = load ptr, ptr %v5, align 8
  %v7 = getelementptr ptr, ptr %row, i64 3
  %v8 = load ptr, ptr %v7, align 8
  %v9 = getelementptr ptr, ptr %row, i64 4
  %v10 = load ptr, ptr %v9, align 8
  %v11 = getelementptr ptr, ptr %row, i64 5
  %v12 = load ptr, ptr %v11, align 8
  %v13 = getelementptr ptr, ptr %row, i64 6
  %v14 = load ptr, ptr %v13, align 8
  %v15 = getelementptr ptr, ptr %row, i64 7
  %v16 = load ptr, ptr %v15, align 8
  %v17 = getelementptr i64, ptr %at, i64 0
  %v18 = load i64, ptr %v17, align 8
  store i64 %v18, ptr %slot19
  %v20 = getelementptr i64, ptr %at, i64 1
  %v21 = load i64, ptr %v20, align 8
  store i64 %v21, ptr %slot22
  %v23 = getelementptr i64, ptr %at, i64 2
  %v24 = load i64, ptr %v23, align 8
  store i64 %v24, ptr %slot25
  %v26 = getelementptr i64, ptr %at, i64 3
  %v27 = load i64, ptr %v26, align 8
  store i64 %v27, ptr %slot28
  %v29 = getelementptr i64, ptr %at, i64 4
  %v30 = load i64, ptr %v29, align 8
  store i64 %v30, ptr %slot31
  %v32 = getelementptr i64, ptr %at, i64 5
  %v33 = load i64, ptr %v32, align 8
  store i64 %v33, ptr %slot34
  %v35 = getelementptr i64, ptr %at, i64 6
  %v36 = load i64, ptr %v35, align 8
  store i64 %v36, ptr %slot37
  %v38 = getelementptr i64, ptr %at, i64 7
  %v39 = load i64, ptr %v38, align 8
  store i64 %v39, ptr %slot40
  br label %again41
again41:
  %v42 = load i64, ptr %slot19, align 1
  %v43 = load i64, ptr %slot22, align 1
  %v44 = load i64, ptr %slot25, align 1
  %v45 = load i64, ptr %slot28, align 1
  %v46 = load i64, ptr %slot31, align 1
  %v47 = load i64, ptr %slot34, align 1
  %v48 = load i64, ptr %slot37, align 1
  %v49 = load i64, ptr %slot40, align 1
  %v50 = mul i64 %v42, 16
  %v51 = getelementptr i8, ptr %nodes, i64 %v50
  %v52 = load float, ptr %v51, align 4
  %v53 = getelementptr i8, ptr %v51, i64 4
  %v54 = load i32, ptr %v53, align 4
  %v55 = lshr i32 %v54, 1
  %v56 = zext i32 %v55 to i64
  %v57 = getelementptr float, ptr %v2, i64 %v56
  %v58 = load float, ptr %v57, align 4
  %v59 = fcmp oge float %v58, %v52
  %v60 = fcmp uno float %v58, %v58
  %v61 = trunc i32 %v54 to i1
  %v62 = and i1 %v60, %v61
  %v63 = getelementptr i8, ptr %v51, i64 8
  %v64 = load i64, ptr %v63, align 8
  %v65 = or i1 %v59, %v62
  %v66 = zext i1 %v65 to i64
  %v67 = shl i64 %v66, 5
  %v68 = lshr i64 %v64, %v67
  %v69 = and i64 %v68, 4294967295
  %v70 = mul i64 %v43, 16
  %v71 = getelementptr i8, ptr %nodes, i64 %v70
  %v72 = load float, ptr %v71, align 4
  %v73 = getelementptr i8, ptr %v71, i64 4
  %v74 = load i32, ptr %v73, align 4
  %v75 = lshr i32 %v74, 1
  %v76 = zext i32 %v75 to i64
  %v77 = getelementptr float, ptr %v4, i64 %v76
  %v78 = load float, ptr %v77, align 4
  %v79 = fcmp oge float %v78, %v72
  %v80 = fcmp uno float %v78, %v78
  %v81 = trunc i32 %v74 to i1
  %v82 = and i1 %v80, %v81
  %v83 = getelementptr i8, ptr %v71, i64 8
  %v84 = load i64, ptr %v83, align 8
  %v85 = or i1 %v79, %v82
  %v86 = zext i1 %v85 to i64
  %v87 = shl i64 %v86, 5
  %v88 = lshr i64 %v84, %v87
  %v89 = and i64 %v88, 4294967295
  %v90 = mul i64 %v44, 16
  %v91 = getelementptr i8, ptr %nodes, i64 %v90
  %v92 = load float, ptr %v91, align 4
  %v93 = getelementptr i8, ptr %v91, i64 4
  %v94 = load i32, ptr %v93, align 4
  %v95 = lshr i32 %v94, 1
  %v96 = zext i32 %v95 to i64
  %v97 = getelementptr float, ptr %v6, i64 %v96
  %v98 = load float, ptr %v97, align 4
  %v99 = fcmp oge float %v98, %v92
  %v100 = fcmp uno float %v98, %v98
  %v101 = trunc i32 %v94 to i1
  %v102 = and i1 %v100, %v101
  %v103 = getelementptr i8, ptr %v91, i64 8
  %v104 = load i64, ptr %v103, align 8
  %v105 = or i1 %v99, %v102
  %v106 = zext i1 %v105 to i64
  %v107 = shl i64 %v106, 5
  %v108 = lshr i64 %v104, %v107
  %v109 = and i64 %v108, 4294967295
  %v110 = mul i64 %v45, 16
  %v111 = getelementptr i8, ptr %nodes, i64 %v110
  %v112 = load float, ptr %v111, align 4
  %v113 = getelementptr i8, ptr %v111, i64 4
  %v114 = load i32, ptr %v113, align 4
  %v115 = lshr i32 %v114, 1
  %v116 = zext i32 %v115 to i64
  %v117 = getelementptr float, ptr %v8, i64 %v116
  %v118 = load float, ptr %v117, align 4
  %v119 = fcmp oge float %v118, %v112
  %v120 = fcmp uno float %v118, %v118
  %v121 = trunc i32 %v114 to i1
  %v122 = and i1 %v120, %v121
  %v123 = getelementptr i8, ptr %v111, i64 8
  %v124 = load i64, ptr %v123, align 8
  %v125 = or i1 %v119, %v122
  %v126 = zext i1 %v125 to i64
  %v127 = shl i64 %v126, 5
  %v128 = lshr i64 %v124, %v127
  %v129 = and i64 %v128, 4294967295
  %v130 = mul i64 %v46, 16
  %v131 = getelementptr i8, ptr %nodes, i64 %v130
  %v132 = load float, ptr %v131, align 4
  %v133 = getelementptr i8, ptr %v131, i64 4
  %v134 = load i32, ptr %v133, align 4
  %v135 = lshr i32 %v134, 1
  %v136 = zext i32 %v135 to i64
  %v137 = getelementptr float, ptr %v10, i64 %v136
  %v138 = load float, ptr %v137, align 4
  %v139 = fcmp oge float %v138, %v132
  %v140 = fcmp uno float %v138, %v138
  %v141 = trunc i32 %v134 to i1
  %v142 = and i1 %v140, %v141
  %v143 = getelementptr i8, ptr %v131, i64 8
  %v144 = load i64, ptr %v143, align 8
  %v145 = or i1 %v139, %v142
  %v146 = zext i1 %v145 to i64
  %v147 = shl i64 %v146, 5
  %v148 = lshr i64 %v144, %v147
  %v149 = and i64 %v148, 4294967295
  %v150 = mul i64 %v47, 16
  %v151 = getelementptr i8, ptr %nodes, i64 %v150
  %v152 = load float, ptr %v151, align 4
  %v153 = getelementptr i8, ptr %v151, i64 4
  %v154 = load i32, ptr %v153, align 4
  %v155 = lshr i32 %v154, 1
  %v156 = zext i32 %v155 to i64
  %v157 = getelementptr float, ptr %v12, i64 %v156
  %v158 = load float, ptr %v157, align 4
  %v159 = fcmp oge float %v158, %v152
  %v160 = fcmp uno float %v158, %v158
  %v161 = trunc i32 %v154 to i1
  %v162 = and i1 %v160, %v161
  %v163 = getelementptr i8, ptr %v151, i64 8
  %v164 = load i64, ptr %v163, align 8
  %v165 = or i1 %v159, %v162
  %v166 = zext i1 %v165 to i64
  %v167 = shl i64 %v166, 5
  %v168 = lshr i64 %v164, %v167
  %v169 = and i64 %v168, 4294967295
  %v170 = mul i64 %v48, 16
  %v171 = getelementptr i8, ptr %nodes, i64 %v170
  %v172 = load float, ptr %v171, align 4
  %v173 = getelementptr i8, ptr %v171, i64 4
  %v174 = load i32, ptr %v173, align 4
  %v175 = lshr i32 %v174, 1
  %v176 = zext i32 %v175 to i64
  %v177 = getelementptr float, ptr %v14, i64 %v176
  %v178 = load float, ptr %v177, align 4
  %v179 = fcmp oge float %v178, %v172
  %v180 = fcmp uno float %v178, %v178
  %v181 = trunc i32 %v174 to i1
  %v182 = and i1 %v180, %v181
  %v183 = getelementptr i8, ptr %v171, i64 8
  %v184 = load i64, ptr %v183, align 8
  %v185 = or i1 %v179, %v182
  %v186 = zext i1 %v185 to i64
  %v187 = shl i64 %v186, 5
  %v188 = lshr i64 %v184, %v187
  %v189 = and i64 %v188, 4294967295
  %v190 = mul i64 %v49, 16
  %v191 = getelementptr i8, ptr %nodes, i64 %v190
  %v192 = load float, ptr %v191, align 4
  %v193 = getelementptr i8, ptr %v191, i64 4
  %v194 = load i32, ptr %v193, align 4
  %v195 = lshr i32 %v194, 1
  %v196 = zext i32 %v195 to i64
  %v197 = getelementptr float, ptr %v16, i64 %v196
  %v198 = load float, ptr %v197, align 4
  %v199 = fcmp oge float %v198, %v192
  %v200 = fcmp uno float %v198, %v198
  %v201 = trunc i32 %v194 to i1
  %v202 = and i1 %v200, %v201
  %v203 = getelementptr i8, ptr %v191, i64 8
  %v204 = load i64, ptr %v203, align 8
  %v205 = or i1 %v199, %v202
  %v206 = zext i1 %v205 to i64
  %v207 = shl i64 %v206, 5
  %v208 = lshr i64 %v204, %v207
  %v209 = and i64 %v208, 4294967295
  store i64 %v69, ptr %slot19, align 1
  store i64 %v89, ptr %slot22, align 1
  store i64 %v109, ptr %slot25, align 1
  store i64 %v129, ptr %slot28, align 1
  store i64 %v149, ptr %slot31, align 1
  store i64 %v169, ptr %slot34, align 1
  store i64 %v189, ptr %slot37, align 1
  store i64 %v209, ptr %slot40, align 1
  %v210 = load i64, ptr %slot19, align 1
  %v211 = load i64, ptr %slot22, align 1
  %v212 = load i64, ptr %slot25, align 1
  %v213 = load i64, ptr %slot28, align 1
  %v214 = load i64, ptr %slot31, align 1
  %v215 = load i64, ptr %slot34, align 1
  %v216 = load i64, ptr %slot37, align 1
  %v217 = load i64, ptr %slot40, align 1
  %v218 = mul i64 %v210, 16
  %v219 = getelementptr i8, ptr %nodes, i64 %v218
  %v220 = load float, ptr %v219, align 4
  %v221 = getelementptr i8, ptr %v219, i64 4
  %v222 = load i32, ptr %v221, align 4
  %v223 = lshr i32 %v222, 1
  %v224 = zext i32 %v223 to i64
  %v225 = getelementptr float, ptr %v2, i64 %v224
  %v226 = load float, ptr %v225, align 4
  %v227 = fcmp oge float %v226, %v220
  %v228 = fcmp uno float %v226, %v226
  %v229 = trunc i32 %v222 to i1
  %v230 = and i1 %v228, %v229
  %v231 = getelementptr i8, ptr %v219, i64 8
  %v232 = load i64, ptr %v231, align 8
  %v233 = or i1 %v227, %v230
  %v234 = zext i1 %v233 to i64
  %v235 = shl i64 %v234, 5
  %v236 = lshr i64 %v232, %v235
  %v237 = and i64 %v236, 4294967295
  %v238 = mul i64 %v211, 16
  %v239 = getelementptr i8, ptr %nodes, i64 %v238
  %v240 = load float, ptr %v239, align 4
  %v241 = getelementptr i8, ptr %v239, i64 4
  %v242 = load i32, ptr %v241, align 4
  %v243 = lshr i32 %v242, 1
  %v244 = zext i32 %v243 to i64
  %v245 = getelementptr float, ptr %v4, i64 %v244
  %v246 = load float, ptr %v245, align 4
  %v247 = fcmp oge float %v246, %v240
  %v248 = fcmp uno float %v246, %v246
  %v249 = trunc i32 %v242 to i1
  %v250 = and i1 %v248, %v249
  %v251 = getelementptr i8, ptr %v239, i64 8
  %v252 = load i64, ptr %v251, align 8
  %v253 = or i1 %v247, %v250
  %v254 = zext i1 %v253 to i64
  %v255 = shl i64 %v254, 5
  %v256 = lshr i64 %v252, %v255
  %v257 = and i64 %v256, 4294967295
  %v258 = mul i64 %v212, 16
  %v259 = getelementptr i8, ptr %nodes, i64 %v258
  %v260 = load float, ptr %v259, align 4
  %v261 = getelementptr i8, ptr %v259, i64 4
  %v262 = load i32, ptr %v261, align 4
  %v263 = lshr i32 %v262, 1
  %v264 = zext i32 %v263 to i64
  %v265 = getelementptr float, ptr %v6, i64 %v264
  %v266 = load float, ptr %v265, align 4
  %v267 = fcmp oge float %v266, %v260
  %v268 = fcmp uno float %v266, %v266
  %v269 = trunc i32 %v262 to i1
  %v270 = and i1 %v268, %v269
  %v271 = getelementptr i8, ptr %v259, i64 8
  %v272 = load i64, ptr %v271, align 8
  %v273 = or i1 %v267, %v270
  %v274 = zext i1 %v273 to i64
  %v275 = shl i64 %v274, 5
  %v276 = lshr i64 %v272, %v275
  %v277 = and i64 %v276, 4294967295
  %v278 = mul i64 %v213, 16
  %v279 = getelementptr i8, ptr %nodes, i64 %v278
  %v280 = load float, ptr %v279, align 4
  %v281 = getelementptr i8, ptr %v279, i64 4
  %v282 = load i32, ptr %v281, align 4
  %v283 = lshr i32 %v282, 1
  %v284 = zext i32 %v283 to i64
  %v285 = getelementptr float, ptr %v8, i64 %v284
  %v286 = load float, ptr %v285, align 4
  %v287 = fcmp oge float %v286, %v280
  %v288 = fcmp uno float %v286, %v286
  %v289 = trunc i32 %v282 to i1
  %v290 = and i1 %v288, %v289
  %v291 = getelementptr i8, ptr %v279, i64 8
  %v292 = load i64, ptr %v291, align 8
  %v293 = or i1 %v287, %v290
  %v294 = zext i1 %v293 to i64
  %v295 = shl i64 %v294, 5
  %v296 = lshr i64 %v292, %v295
  %v297 = and i64 %v296, 4294967295
  %v298 = mul i64 %v214, 16
  %v299 = getelementptr i8, ptr %nodes, i64 %v298
  %v300 = load float, ptr %v299, align 4
  %v301 = getelementptr i8, ptr %v299, i64 4
  %v302 = load i32, ptr %v301, align 4
  %v303 = lshr i32 %v302, 1
  %v304 = zext i32 %v303 to i64
  %v305 = getelementptr float, ptr %v10, i64 %v304
  %v306 = load float, ptr %v305, align 4
  %v307 = fcmp oge float %v306, %v300
  %v308 = fcmp uno float %v306, %v306
  %v309 = trunc i32 %v302 to i1
  %v310 = and i1 %v308, %v309
  %v311 = getelementptr i8, ptr %v299, i64 8
  %v312 = load i64, ptr %v311, align 8
  %v313 = or i1 %v307, %v310
  %v314 = zext i1 %v313 to i64
  %v315 = shl i64 %v314, 5
  %v316 = lshr i64 %v312, %v315
  %v317 = and i64 %v316, 4294967295
  %v318 = mul i64 %v215, 16
  %v319 = getelementptr i8, ptr %nodes, i64 %v318
  %v320 = load float, ptr %v319, align 4
  %v321 = getelementptr i8, ptr %v319, i64 4
  %v322 = load i32, ptr %v321, align 4
  %v323 = lshr i32 %v322, 1
  %v324 = zext i32 %v323 to i64
  %v325 = getelementptr float, ptr %v12, i64 %v324
  %v326 = load float, ptr %v325, align 4
  %v327 = fcmp oge float %v326, %v320
  %v328 = fcmp uno float %v326, %v326
  %v329 = trunc i32 %v322 to i1
  %v330 = and i1 %v328, %v329
  %v331 = getelementptr i8, ptr %v319, i64 8
  %v332 = load i64, ptr %v331, align 8
  %v333 = or i1 %v327, %v330
  %v334 = zext i1 %v333 to i64
  %v335 = shl i64 %v334, 5
  %v336 = lshr i64 %v332, %v335
  %v337 = and i64 %v336, 4294967295
  %v338 = mul i64 %v216, 16
  %v339 = getelementptr i8, ptr %nodes, i64 %v338
  %v340 = load float, ptr %v339, align 4
  %v341 = getelementptr i8, ptr %v339, i64 4
  %v342 = load i32, ptr %v341, align 4
  %v343 = lshr i32 %v342, 1
  %v344 = zext i32 %v343 to i64
  %v345 = getelementptr float, ptr %v14, i64 %v344
  %v346 = load float, ptr %v345, align 4
  %v347 = fcmp oge float %v346, %v340
  %v348 = fcmp uno float %v346, %v346
  %v349 = trunc i32 %v342 to i1
  %v350 = and i1 %v348, %v349
  %v351 = getelementptr i8, ptr %v339, i64 8
  %v352 = load i64, ptr %v351, align 8
  %v353 = or i1 %v347, %v350
  %v354 = zext i1 %v353 to i64
  %v355 = shl i64 %v354, 5
  %v356 = lshr i64 %v352, %v355
  %v357 = and i64 %v356, 4294967295
  %v358 = mul i64 %v217, 16
  %v359 = getelementptr i8, ptr %nodes, i64 %v358
  %v360 = load float, ptr %v359, align 4
  %v361 = getelementptr i8, ptr %v359, i64 4
  %v362 = load i32, ptr %v361, align 4
  %v363 = lshr i32 %v362, 1
  %v364 = zext i32 %v363 to i64
  %v365 = getelementptr float, ptr %v16, i64 %v364
  %v366 = load float, ptr %v365, align 4
  %v367 = fcmp oge float %v366, %v360
  %v368 = fcmp uno float %v366, %v366
  %v369 = trunc i32 %v362 to i1
  %v370 = and i1 %v368, %v369
  %v371 = getelementptr i8, ptr %v359, i64 8
  %v372 = load i64, ptr %v371, align 8
  %v373 = or i1 %v367, %v370
  %v374 = zext i1 %v373 to i64
  %v375 = shl i64 %v374, 5
  %v376 = lshr i64 %v372, %v375
  %v377 = and i64 %v376, 4294967295
  store i64 %v237, ptr %slot19, align 1
  store i64 %v257, ptr %slot22, align 1
  store i64 %v277, ptr %slot25, align 1
  store i64 %v297, ptr %slot28, align 1
  store i64 %v317, ptr %slot31, align 1
  store i64 %v337, ptr %slot34, align 1
  store i64 %v357, ptr %slot37, align 1
  store i64 %v377, ptr %slot40, align 1
  %v378 = load i64, ptr %slot19, align 1
  %v379 = load i64, ptr %slot22, align 1
  %v380 = load i64, ptr %slot25, align 1
  %v381 = load i64, ptr %slot28, align 1
  %v382 = load i64, ptr %slot31, align 1
  %v383 = load i64, ptr %slot34, align 1
  %v384 = load i64, ptr %slot37, align 1
  %v385 = load i64, ptr %slot40, align 1
  %v386 = mul i64 %v378, 16
  %v387 = getelementptr i8, ptr %nodes, i64 %v386
  %v388 = load float, ptr %v387, align 4
  %v389 = getelementptr i8, ptr %v387, i64 4
  %v390 = load i32, ptr %v389, align 4
  %v391 = lshr i32 %v390, 1
  %v392 = zext i32 %v391 to i64
  %v393 = getelementptr float, ptr %v2, i64 %v392
  %v394 = load float, ptr %v393, align 4
  %v395 = fcmp oge float %v394, %v388
  %v396 = fcmp uno float %v394, %v394
  %v397 = trunc i32 %v390 to i1
  %v398 = and i1 %v396, %v397
  %v399 = getelementptr i8, ptr %v387, i64 8
  %v400 = load i64, ptr %v399, align 8
  %v401 = or i1 %v395, %v398
  %v402 = zext i1 %v401 to i64
  %v403 = shl i64 %v402, 5
  %v404 = lshr i64 %v400, %v403
  %v405 = and i64 %v404, 4294967295
  %v406 = mul i64 %v379, 16
  %v407 = getelementptr i8, ptr %nodes, i64 %v406
  %v408 = load float, ptr %v407, align 4
  %v409 = getelementptr i8, ptr %v407, i64 4
  %v410 = load i32, ptr %v409, align 4
  %v411 = lshr i32 %v410, 1
  %v412 = zext i32 %v411 to i64
  %v413 = getelementptr float, ptr %v4, i64 %v412
  %v414 = load float, ptr %v413, align 4
  %v415 = fcmp oge float %v414, %v408
  %v416 = fcmp uno float %v414, %v414
  %v417 = trunc i32 %v410 to i1
  %v418 = and i1 %v416, %v417
  %v419 = getelementptr i8, ptr %v407, i64 8
  %v420 = load i64, ptr %v419, align 8
  %v421 = or i1 %v415, %v418
  %v422 = zext i1 %v421 to i64
  %v423 = shl i64 %v422, 5
  %v424 = lshr i64 %v420, %v423
  %v425 = and i64 %v424, 4294967295
  %v426 = mul i64 %v380, 16
  %v427 = getelementptr i8, ptr %nodes, i64 %v426
  %v428 = load float, ptr %v427, align 4
  %v429 = getelementptr i8, ptr %v427, i64 4
  %v430 = load i32, ptr %v429, align 4
  %v431 = lshr i32 %v430, 1
  %v432 = zext i32 %v431 to i64
  %v433 = getelementptr float, ptr %v6, i64 %v432
  %v434 = load float, ptr %v433, align 4
  %v435 = fcmp oge float %v434, %v428
  %v436 = fcmp uno float %v434, %v434
  %v437 = trunc i32 %v430 to i1
  %v438 = and i1 %v436, %v437
  %v439 = getelementptr i8, ptr %v427, i64 8
  %v440 = load i64, ptr %v439, align 8
  %v441 = or i1 %v435, %v438
  %v442 = zext i1 %v441 to i64
  %v443 = shl i64 %v442, 5
  %v444 = lshr i64 %v440, %v443
  %v445 = and i64 %v444, 4294967295
  %v446 = mul i64 %v381, 16
  %v447 = getelementptr i8, ptr %nodes, i64 %v446
  %v448 = load float, ptr %v447, align 4
  %v449 = getelementptr i8, ptr %v447, i64 4
  %v450 = load i32, ptr %v449, align 4
  %v451 = lshr i32 %v450, 1
  %v452 = zext i32 %v451 to i64
  %v453 = getelementptr float, ptr %v8, i64 %v452
  %v454 = load float, ptr %v453, align 4
  %v455 = fcmp oge float %v454, %v448
  %v456 = fcmp uno float %v454, %v454
  %v457 = trunc i32 %v450 to i1
  %v458 = and i1 %v456, %v457
  %v459 = getelementptr i8, ptr %v447, i64 8
  %v460 = load i64, ptr %v459, align 8
  %v461 = or i1 %v455, %v458
  %v462 = zext i1 %v461 to i64
  %v463 = shl i64 %v462, 5
  %v464 = lshr i64 %v460, %v463
  %v465 = and i64 %v464, 4294967295
  %v466 = mul i64 %v382, 16
  %v467 = getelementptr i8, ptr %nodes, i64 %v466
  %v468 = load float, ptr %v467, align 4
  %v469 = getelementptr i8, ptr %v467, i64 4
  %v470 = load i32, ptr %v469, align 4
  %v471 = lshr i32 %v470, 1
  %v472 = zext i32 %v471 to i64
  %v473 = getelementptr float, ptr %v10, i64 %v472
  %v474 = load float, ptr %v473, align 4
  %v475 = fcmp oge float %v474, %v468
  %v476 = fcmp uno float %v474, %v474
  %v477 = trunc i32 %v470 to i1
  %v478 = and i1 %v476, %v477
  %v479 = getelementptr i8, ptr %v467, i64 8
  %v480 = load i64, ptr %v479, align 8
  %v481 = or i1 %v475, %v478
  %v482 = zext i1 %v481 to i64
  %v483 = shl i64 %v482, 5
  %v484 = lshr i64 %v480, %v483
  %v485 = and i64 %v484, 4294967295
  %v486 = mul i64 %v383, 16
  %v487 = getelementptr i8, ptr %nodes, i64 %v486
  %v488 = load float, ptr %v487, align 4
  %v489 = getelementptr i8, ptr %v487, i64 4
  %v490 = load i32, ptr %v489, align 4
  %v491 = lshr i32 %v490, 1
  %v492 = zext i32 %v491 to i64
  %v493 = getelementptr float, ptr %v12, i64 %v492
  %v494 = load float, ptr %v493, align 4
  %v495 = fcmp oge float %v494, %v488
  %v496 = fcmp uno float %v494, %v494
  %v497 = trunc i32 %v490 to i1
  %v498 = and i1 %v496, %v497
  %v499 = getelementptr i8, ptr %v487, i64 8
  %v500 = load i64, ptr %v499, align 8
  %v501 = or i1 %v495, %v498
  %v502 = zext i1 %v501 to i64
  %v503 = shl i64 %v502, 5
  %v504 = lshr i64 %v500, %v503
  %v505 = and i64 %v504, 4294967295
  %v506 = mul i64 %v384, 16
  %v507 = getelementptr i8, ptr %nodes, i64 %v506
  %v508 = load float, ptr %v507, align 4
  %v509 = getelementptr i8, ptr %v507, i64 4
  %v510 = load i32, ptr %v509, align 4
  %v511 = lshr i32 %v510, 1
  %v512 = zext i32 %v511 to i64
  %v513 = getelementptr float, ptr %v14, i64 %v512
  %v514 = load float, ptr %v513, align 4
  %v515 = fcmp oge float %v514, %v508
  %v516 = fcmp uno float %v514, %v514
  %v517 = trunc i32 %v510 to i1
  %v518 = and i1 %v516, %v517
  %v519 = getelementptr i8, ptr %v507, i64 8
  %v520 = load i64, ptr %v519, align 8
  %v521 = or i1 %v515, %v518
  %v522 = zext i1 %v521 to i64
  %v523 = shl i64 %v522, 5
  %v524 = lshr i64 %v520, %v523
  %v525 = and i64 %v524, 4294967295
  %v526 = mul i64 %v385, 16
  %v527 = getelementptr i8, ptr %nodes, i64 %v526
  %v528 = load float, ptr %v527, align 4
  %v529 = getelementptr i8, ptr %v527, i64 4
  %v530 = load i32, ptr %v529, align 4
  %v531 = lshr i32 %v530, 1
  %v532 = zext i32 %v531 to i64
  %v533 = getelementptr float, ptr %v16, i64 %v532
  %v534 = load float, ptr %v533, align 4
  %v535 = fcmp oge float %v534, %v528
  %v536 = fcmp uno float %v534, %v534
  %v537 = trunc i32 %v530 to i1
  %v538 = and i1 %v536, %v537
  %v539 = getelementptr i8, ptr %v527, i64 8
  %v540 = load i64, ptr %v539, align 8
  %v541 = or i1 %v535, %v538
  %v542 = zext i1 %v541 to i64
  %v543 = shl i64 %v542, 5
  %v544 = lshr i64 %v540, %v543
  %v545 = and i64 %v544, 4294967295
  store i64 %v405, ptr %slot19, align 1
  store i64 %v425, ptr %slot22, align 1
  store i64 %v445, ptr %slot25, align 1
  store i64 %v465, ptr %slot28, align 1
  store i64 %v485, ptr %slot31, align 1
  store i64 %v505, ptr %slot34, align 1
  store i64 %v525, ptr %slot37, align 1
  store i64 %v545, ptr %slot40, align 1
  %v546 = load i64, ptr %slot19, align 1
  %v547 = load i64, ptr %slot22, align 1
  %v548 = load i64, ptr %slot25, align 1
  %v549 = load i64, ptr %slot28, align 1
  %v550 = load i64, ptr %slot31, align 1
  %v551 = load i64, ptr %slot34, align 1
  %v552 = load i64, ptr %slot37, align 1
  %v553 = load i64, ptr %slot40, align 1
  %v554 = mul i64 %v546, 16
  %v555 = getelementptr i8, ptr %nodes, i64 %v554
  %v556 = load float, ptr %v555, align 4
  %v557 = getelementptr i8, ptr %v555, i64 4
  %v558 = load i32, ptr %v557, align 4
  %v559 = lshr i32 %v558, 1
  %v560 = zext i32 %v559 to i64
  %v561 = getelementptr float, ptr %v2, i64 %v560
  %v562 = load float, ptr %v561, align 4
  %v563 = fcmp oge float %v562, %v556
  %v564 = fcmp uno float %v562, %v562
  %v565 = trunc i32 %v558 to i1
  %v566 = and i1 %v564, %v565
  %v567 = getelementptr i8, ptr %v555, i64 8
  %v568 = load i64, ptr %v567, align 8
  %v569 = or i1 %v563, %v566
  %v570 = zext i1 %v569 to i64
  %v571 = shl i64 %v570, 5
  %v572 = lshr i64 %v568, %v571
  %v573 = and i64 %v572, 4294967295
  %v574 = mul i64 %v547, 16
  %v575 = getelementptr i8, ptr %nodes, i64 %v574
  %v576 = load float, ptr %v575, align 4
  %v577 = getelementptr i8, ptr %v575, i64 4
  %v578 = load i32, ptr %v577, align 4
  %v579 = lshr i32 %v578, 1
  %v580 = zext i32 %v579 to i64
  %v581 = getelementptr float, ptr %v4, i64 %v580
  %v582 = load float, ptr %v581, align 4
  %v583 = fcmp oge float %v582, %v576
  %v584 = fcmp uno float %v582, %v582
  %v585 = trunc i32 %v578 to i1
  %v586 = and i1 %v584, %v585
  %v587 = getelementptr i8, ptr %v575, i64 8
  %v588 = load i64, ptr %v587, align 8
  %v589 = or i1 %v583, %v586
  %v590 = zext i1 %v589 to i64
  %v591 = shl i64 %v590, 5
  %v592 = lshr i64 %v588, %v591
  %v593 = and i64 %v592, 4294967295
  %v594 = mul i64 %v548, 16
  %v595 = getelementptr i8, ptr %nodes, i64 %v594
  %v596 = load float, ptr %v595, align 4
  %v597 = getelementptr i8, ptr %v595, i64 4
  %v598 = load i32, ptr %v597, align 4
  %v599 = lshr i32 %v598, 1
  %v600 = zext i32 %v599 to i64
  %v601 = getelementptr float, ptr %v6, i64 %v600
  %v602 = load float, ptr %v601, align 4
  %v603 = fcmp oge float %v602, %v596
  %v604 = fcmp uno float %v602, %v602
  %v605 = trunc i32 %v598 to i1
  %v606 = and i1 %v604, %v605
  %v607 = getelementptr i8, ptr %v595, i64 8
  %v608 = load i64, ptr %v607, align 8
  %v609 = or i1 %v603, %v606
  %v610 = zext i1 %v609 to i64
  %v611 = shl i64 %v610, 5
  %v612 = lshr i64 %v608, %v611
  %v613 = and i64 %v612, 4294967295
  %v614 = mul i64 %v549, 16
  %v615 = getelementptr i8, ptr %nodes, i64 %v614
  %v616 = load float, ptr %v615, align 4
  %v617 = getelementptr i8, ptr %v615, i64 4
  %v618 = load i32, ptr %v617, align 4
  %v619 = lshr i32 %v618, 1
  %v620 = zext i32 %v619 to i64
  %v621 = getelementptr float, ptr %v8, i64 %v620
  %v622 = load float, ptr %v621, align 4
  %v623 = fcmp oge float %v622, %v616
  %v624 = fcmp uno float %v622, %v622
  %v625 = trunc i32 %v618 to i1
  %v626 = and i1 %v624, %v625
  %v627 = getelementptr i8, ptr %v615, i64 8
  %v628 = load i64, ptr %v627, align 8
  %v629 = or i1 %v623, %v626
  %v630 = zext i1 %v629 to i64
  %v631 = shl i64 %v630, 5
  %v632 = lshr i64 %v628, %v631
  %v633 = and i64 %v632, 4294967295
  %v634 = mul i64 %v550, 16
  %v635 = getelementptr i8, ptr %nodes, i64 %v634
  %v636 = load float, ptr %v635, align 4
  %v637 = getelementptr i8, ptr %v635, i64 4
  %v638 = load i32, ptr %v637, align 4
  %v639 = lshr i32 %v638, 1
  %v640 = zext i32 %v639 to i64
  %v641 = getelementptr float, ptr %v10, i64 %v640
  %v642 = load float, ptr %v641, align 4
  %v643 = fcmp oge float %v642, %v636
  %v644 = fcmp uno float %v642, %v642
  %v645 = trunc i32 %v638 to i1
  %v646 = and i1 %v644, %v645
  %v647 = getelementptr i8, ptr %v635, i64 8
  %v648 = load i64, ptr %v647, align 8
  %v649 = or i1 %v643, %v646
  %v650 = zext i1 %v649 to i64
  %v651 = shl i64 %v650, 5
  %v652 = lshr i64 %v648, %v651
  %v653 = and i64 %v652, 4294967295
  %v654 = mul i64 %v551, 16
  %v655 = getelementptr i8, ptr %nodes, i64 %v654
  %v656 = load float, ptr %v655, align 4
  %v657 = getelementptr i8, ptr %v655, i64 4
  %v658 = load i32, ptr %v657, align 4
  %v659 = lshr i32 %v658, 1
  %v660 = zext i32 %v659 to i64
  %v661 = getelementptr float, ptr %v12, i64 %v660
  %v662 = load float, ptr %v661, align 4
  %v663 = fcmp oge float %v662, %v656
  %v664 = fcmp uno float %v662, %v662
  %v665 = trunc i32 %v658 to i1
  %v666 = and i1 %v664, %v665
  %v667 = getelementptr i8, ptr %v655, i64 8
  %v668 = load i64, ptr %v667, align 8
  %v669 = or i1 %v663, %v666
  %v670 = zext i1 %v669 to i64
  %v671 = shl i64 %v670, 5
  %v672 = lshr i64 %v668, %v671
  %v673 = and i64 %v672, 4294967295
  %v674 = mul i64 %v552, 16
  %v675 = getelementptr i8, ptr %nodes, i64 %v674
  %v676 = load float, ptr %v675, align 4
  %v677 = getelementptr i8, ptr %v675, i64 4
  %v678 = load i32, ptr %v677, align 4
  %v679 = lshr i32 %v678, 1
  %v680 = zext i32 %v679 to i64
  %v681 = getelementptr float, ptr %v14, i64 %v680
  %v682 = load float, ptr %v681, align 4
  %v683 = fcmp oge float %v682, %v676
  %v684 = fcmp uno float %v682, %v682
  %v685 = trunc i32 %v678 to i1
  %v686 = and i1 %v684, %v685
  %v687 = getelementptr i8, ptr %v675, i64 8
  %v688 = load i64, ptr %v687, align 8
  %v689 = or i1 %v683, %v686
  %v690 = zext i1 %v689 to i64
  %v691 = shl i64 %v690, 5
  %v692 = lshr i64 %v688, %v691
  %v693 = and i64 %v692, 4294967295
  %v694 = mul i64 %v553, 16
  %v695 = getelementptr i8, ptr %nodes, i64 %v694
  %v696 = load float, ptr %v695, align 4
  %v697 = getelementptr i8, ptr %v695, i64 4
  %v698 = load i32, ptr %v697, align 4
  %v699 = lshr i32 %v698, 1
  %v700 = zext i32 %v699 to i64
  %v701 = getelementptr float, ptr %v16, i64 %v700
  %v702 = load float, ptr %v701, align 4
  %v703 = fcmp oge float %v702, %v696
  %v704 = fcmp uno float %v702, %v702
  %v705 = trunc i32 %v698 to i1
  %v706 = and i1 %v704, %v705
  %v707 = getelementptr i8, ptr %v695, i64 8
  %v708 = load i64, ptr %v707, align 8
  %v709 = or i1 %v703, %v706
  %v710 = zext i1 %v709 to i64
  %v711 = shl i64 %v710, 5
  %v712 = lshr i64 %v708, %v711
  %v713 = and i64 %v712, 4294967295
  store i64 %v573, ptr %slot19, align 1
  store i64 %v593, ptr %slot22, align 1
  store i64 %v613, ptr %slot25, align 1
  store i64 %v633, ptr %slot28, align 1
  store i64 %v653, ptr %slot31, align 1
  store i64 %v673, ptr %slot34, align 1
  store i64 %v693, ptr %slot37, align 1
  store i64 %v713, ptr %slot40, align 1
  %v714 = xor i64 %v546, %v573
  %v715 = xor i64 %v547, %v593
  %v716 = xor i64 %v548, %v613
  %v717 = xor i64 %v549, %v633
  %v718 = xor i64 %v550, %v653
  %v719 = xor i64 %v551, %v673
  %v720 = xor i64 %v552, %v693
  %v721 = xor i64 %v553, %v713
  %v722 = or i64 %v714, %v715
  %v723 = or i64 %v716, %v717
  %v724 = or i64 %v718, %v719
  %v725 = or i64 %v720, %v721
  %v726 = or i64 %v722, %v723
  %v727 = or i64 %v724, %v725
  %v728 = or i64 %v726, %v727
  %v729 = icmp ne i64 %v728, 0
  br i1 %v729, label %again41, label %again41.end
again41.end:
  %v730 = load i64, ptr %slot19, align 1
  %v731 = getelementptr i64, ptr %at, i64 0
  store i64 %v730, ptr %v731, align 8
  %v732 = load i64, ptr %slot22, align 1
  %v733 = getelementptr i64, ptr %at, i64 1
  store i64 %v732, ptr %v733, align 8
  %v734 = load i64, ptr %slot25, align 1
  %v735 = getelementptr i64, ptr %at, i64 2
  store i64 %v734, ptr %v735, align 8
  %v736 = load i64, ptr %slot28, align 1
  %v737 = getelementptr i64, ptr %at, i64 3
  store i64 %v736, ptr %v737, align 8
  %v738 = load i64, ptr %slot31, align 1
  %v739 = getelementptr i64, ptr %at, i64 4
  store i64 %v738, ptr %v739, align 8
  %v740 = load i64, ptr %slot34, align 1
  %v741 = getelementptr i64, ptr %at, i64 5
  store i64 %v740, ptr %v741, align 8
  %v742 = load i64, ptr %slot37, align 1
  %v743 = getelementptr i64, ptr %at, i64 6
  store i64 %v742, ptr %v743, align 8
  %v744 = load i64, ptr %slot40, align 1
  %v745 = getelementptr i64, ptr %at, i64 7
  store i64 %v744, ptr %v745, align 8
  ret void
}

define internal void @walk_rows(ptr %tables, ptr %rows, i64 %n, i64 %root, ptr %numbers) nounwind "no-builtins" {
entry:
  %slot9 = alloca [8 x i64], align 64
  %slot10 = alloca [8 x ptr], align 64
  %slot13 = alloca i64
  br label %start
start:
  %v1 = getelementptr i64, ptr %tables, i64 16
  %v2 = load i64, ptr %v1, align 8
  %v3 = getelementptr i8, ptr %tables, i64 %v2
  %v4 = getelementptr i64, ptr %tables, i64 17
  %v5 = load i64, ptr %v4, align 8
  %v6 = getelementptr i8, ptr %tables, i64 %v5
  %v7 = getelementptr i64, ptr %tables, i64 2
  %v8 = load i64, ptr %v7, align 8
  %v11 = add i64 %n, -1
  store i64 0, ptr %slot13
  br label %loop12
loop12:
  %v14 = load i64, ptr %slot13, align 1
  %v15 = icmp slt i64 %v14, %n
  br i1 %v15, label %loop12.body, label %loop12.end
loop12.body:
  %v16 = add i64 %v14, 0
  %v17 = call i64 @llvm.smin.i64(i64 %v16, i64 %v11)
  %v18 = mul i64 %v17, %v8
  %v19 = getelementptr float, ptr %rows, i64 %v18
  %v20 = getelementptr ptr, ptr %slot10, i64 0
  store ptr %v19, ptr %v20, align 8
  %v21 = getelementptr i64, ptr %slot9, i64 0
  store i64 %root, ptr %v21, align 8
  %v22 = add i64 %v14, 1
  %v23 = call i64 @llvm.smin.i64(i64 %v22, i64 %v11)
  %v24 = mul i64 %v23, %v8
  %v25 = getelementptr float, ptr %rows, i64 %v24
  %v26 = getelementptr ptr, ptr %slot10, i64 1
  store ptr %v25, ptr %v26, align 8
  %v27 = getelementptr i64, ptr %slot9, i64 1
  store i64 %root, ptr %v27, align 8
  %v28 = add i64 %v14, 2
  %v29 = call i64 @llvm.smin.i64(i64 %v28, i64 %v11)
  %v30 = mul i64 %v29, %v8
  %v31 = getelementptr float, ptr %rows, i64 %v30
  %v32 = getelementptr ptr, ptr %slot10, i64 2
  store ptr %v31, ptr %v32, align 8
  %v33 = getelementptr i64, ptr %slot9, i64 2
  store i64 %root, ptr %v33, align 8
  %v34 = add i64 %v14, 3
  %v35 = call i64 @llvm.smin.i64(i64 %v34, i64 %v11)
  %v36 = mul i64 %v35, %v8
  %v37 = getelementptr float, ptr %rows, i64 %v36
  %v38 = getelementptr ptr, ptr %slot10, i64 3
  store ptr %v37, ptr %v38, align 8
  %v39 = getelementptr i64, ptr %slot9, i64 3
  store i64 %root, ptr %v39, align 8
  %v40 = add i64 %v14, 4
  %v41 = call i64 @llvm.smin.i64(i64 %v40, i64 %v11)
  %v42 = mul i64 %v41, %v8
  %v43 = getelementptr float, ptr %rows, i64 %v42
  %v44 = getelementptr ptr, ptr %slot10, i64 4
  store ptr %v43, ptr %v44, align 8
  %v45 = getelementptr i64, ptr %slot9, i64 4
  store i64 %root, ptr %v45, align 8
  %v46 = add i64 %v14, 5
  %v47 = call i64 @llvm.smin.i64(i64 %v46, i64 %v11)
  %v48 = mul i64 %v47, %v8
  %v49 = getelementptr float, ptr %rows, i64 %v48
  %v50 = getelementptr ptr, ptr %slot10, i64 5
  store ptr %v49, ptr %v50, align 8
  %v51 = getelementptr i64, ptr %slot9, i64 5
  store i64 %root, ptr %v51, align 8
  %v52 = add i64 %v14, 6
  %v53 = call i64 @llvm.smin.i64(i64 %v52, i64 %v11)
  %v54 = mul i64 %v53, %v8
  %v55 = getelementptr float, ptr %rows, i64 %v54
  %v56 = getelementptr ptr, ptr %slot10, i64 6
  store ptr %v55, ptr %v56, align 8
  %v57 = getelementptr i64, ptr %slot9, i64 6
  store i64 %root, ptr %v57, align 8
  %v58 = add i64 %v14, 7
  %v59 = call i64 @llvm.smin.i64(i64 %v58, i64 %v11)
  %v60 = mul i64 %v59, %v8
  %v61 = getelementptr float, ptr %rows, i64 %v60
  %v62 = getelementptr ptr, ptr %slot10, i64 7
  store ptr %v61, ptr %v62, align 8
  %v63 = getelementptr i64, ptr %slot9, i64 7
  store i64 %root, ptr %v63, align 8
  call void @walk(ptr %v3, ptr %slot9, ptr %slot10)
  %v64 = getelementptr i64, ptr %slot9, i64 0
  %v65 = load i64, ptr %v64, align 8
  %v66 = getelementptr i32, ptr %v6, i64 %v65
  %v67 = load i32, ptr %v66, align 1
  %v68 = add i64 %v14, 0
  %v69 = getelementptr i32, ptr %numbers, i64 %v68
  store i32 %v67, ptr %v69, align 4
  %v70 = getelementptr i64, ptr %slot9, i64 1
  %v71 = load i64, ptr %v70, align 8
  %v72 = getelementptr i32, ptr %v6, i64 %v71
  %v73 = load i32, ptr %v72, align 1
  %v74 = add i64 %v14, 1
  %v75 = getelementptr i32, ptr %numbers, i64 %v74
  store i32 %v73, ptr %v75, align 4
  %v76 = getelementptr i64, ptr %slot9, i64 2
  %v77 = load i64, ptr %v76, align 8
  %v78 = getelementptr i32, ptr %v6, i64 %v77
  %v79 = load i32, ptr %v78, align 1
  %v80 = add i64 %v14, 2
  %v81 = getelementptr i32, ptr %numbers, i64 %v80
  store i32 %v79, ptr %v81, align 4
  %v82 = getelementptr i64, ptr %slot9, i64 3
  %v83 = load i64, ptr %v82, align 8
  %v84 = getelementptr i32, ptr %v6, i64 %v83
  %v85 = load i32, ptr %v84, align 1
  %v86 = add i64 %v14, 3
  %v87 = getelementptr i32, ptr %numbers, i64 %v86
  store i32 %v85, ptr %v87, align 4
  %v88 = getelementptr i64, ptr %slot9, i64 4
  %v89 = load i64, ptr %v88, align 8
  %v90 = getelementptr i32, ptr %v6, i64 %v89
  %v91 = load i32, ptr %v90, align 1
  %v92 = add i64 %v14, 4
  %v93 = getelementptr i32, ptr %numbers, i64 %v92
  store i32 %v91, ptr %v93, align 4
  %v94 = getelementptr i64, ptr %slot9, i64 5
  %v95 = load i64, ptr %v94, align 8
  %v96 = getelementptr i32, ptr %v6, i64 %v95
  %v97 = load i32, ptr %v96, align 1
  %v98 = add i64 %v14, 5
  %v99 = getelementptr i32, ptr %numbers, i64 %v98
  store i32 %v97, ptr %v99, align 4
  %v100 = getelementptr i64, ptr %slot9, i64 6
  %v101 = load i64, ptr %v100, align 8
  %v102 = getelementptr i32, ptr %v6, i64 %v101
  %v103 = load i32, ptr %v102, align 1
  %v104 = add i64 %v14, 6
  %v105 = getelementptr i32, ptr %numbers, i64 %v104
  store i32 %v103, ptr %v105, align 4
  %v106 = getelementptr i64, ptr %slot9, i64 7
  %v107 = load i64, ptr %v106, align 8
  %v108 = getelementptr i32, ptr %v6, i64 %v107
  %v109 = load i32, ptr %v108, align 1
  %v110 = add i64 %v14, 7
  %v111 = getelementptr i32, ptr %numbers, i64 %v110
  store i32 %v109, ptr %v111, align 4
  %v112 = add i64 %v14, 8
  store i64 %v112, ptr %slot13, align 1
  br label %loop12
loop12.end:
  ret void
}

define internal void @add_walked(ptr %numbers, ptr %table, ptr %sums, i64 %n) nounwind "no-builtins" {
entry:
  %slot2 = alloca i64
  br label %start
start:
  store i64 0, ptr %slot2
  br label %loop1
loop1:
  %v3 = load i64, ptr %slot2, align 1
  %v4 = icmp slt i64 %v3, %n
  br i1 %v4, label %loop1.body, label %loop1.end
loop1.body:
  %v5 = getelementptr i32, ptr %numbers, i64 %v3
  %v6 = load i32, ptr %v5, align 1
  %v7 = zext i32 %v6 to i64
  %v8 = getelementptr float, ptr %table, i64 %v7
  %v9 = load float, ptr %v8, align 4
  %v10 = getelementptr float, ptr %sums, i64 %v3
  %v11 = load float, ptr %v10, align 4
  %v12 = fadd float %v11, %v9
  store float %v12, ptr %v10, align 4
  %v13 = add i64 %v3, 1
  store i64 %v13, ptr %slot2, align 1
  br label %loop1
loop1.end:
  ret void
}

define internal void @trees(ptr %tables, ptr %words_at, ptr %leaves_at, i64 %count, ptr %lines, ptr %sums, ptr %numbers, ptr %rows, i64 %n) nounwind "no-builtins" {
entry:
  %slot2 = alloca ptr
  %slot4 = alloca ptr
  %slot6 = alloca i64
  %slot34 = alloca i64
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
  %v21 = icmp eq i64 %v13, 32
  br i1 %v21, label %when22, label %when22.end
when22:
  %v23 = load ptr, ptr %slot2, align 1
  %v24 = getelementptr i32, ptr %v23, i64 1
  store ptr %v24, ptr %slot2, align 1
  %v25 = getelementptr i32, ptr %v23, i64 0
  %v26 = load i32, ptr %v25, align 1
  %v27 = sext i32 %v26 to i64
  %v28 = load ptr, ptr %slot2, align 1
  %v29 = getelementptr i32, ptr %v28, i64 1
  store ptr %v29, ptr %slot2, align 1
  %v30 = getelementptr i32, ptr %v28, i64 0
  %v31 = load i32, ptr %v30, align 1
  %v32 = sext i32 %v31 to i64
  call void @walk_rows(ptr %tables, ptr %rows, i64 %n, i64 %v27, ptr %numbers)
  store i64 0, ptr %slot34
  br label %loop33
loop33:
  %v35 = load i64, ptr %slot34, align 1
  %v36 = icmp slt i64 %v35, %v18
  br i1 %v36, label %loop33.body, label %loop33.end
loop33.body:
  %v37 = getelementptr i32, ptr %v19, i64 %v35
  %v38 = load i32, ptr %v37, align 1
  %v39 = sext i32 %v38 to i64
  %v40 = mul i64 %v39, 512
  %v41 = getelementptr i8, ptr %sums, i64 %v40
  %v42 = load ptr, ptr %slot4, align 1
  call void @add_walked(ptr %numbers, ptr %v42, ptr %v41, i64 %n)
  %v43 = getelementptr i8, ptr %v42, i64 %v32
  store ptr %v43, ptr %slot4, align 1
  %v44 = add i64 %v35, 1
  store i64 %v44, ptr %slot34, align 1
  br label %loop33
loop33.end:
  br label %when22.end
when22.end:
  %v45 = add i64 %v7, 1
  store i64 %v45, ptr %slot6, align 1
  br label %loop5
loop5.end:
  %v46 = load ptr, ptr %slot2, align 1
  store ptr %v46, ptr %words_at, align 8
  %v47 = load ptr, ptr %slot4, align 1
  store ptr %v47, ptr %leaves_at, align 8
  ret void
}
