"""Tree ensembles as vector machine code, with the bits of the library that trained them.

Ensemble -> layout_of(ensemble, isa) -> Layout(shape, tables)        numpy: decisions and data
            kernel_image(shape, isa) -> image                        LLVM: one kernel a shape, kept in the cache
            Predictor(image, tables, ...)(rows) -> margins           neither: a mapping and a call
"""
