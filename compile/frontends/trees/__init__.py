"""Tree models: XGBoost, LightGBM and scikit-learn files to the normal form of docs/trees.md.

    xgboost, lightgbm, sklearn     a parsed file (ubj, fields, skops_file) -> TreeModel: one checked Ensemble and words
    graph, columns, transforms     TreeModel -> ONNX
    form                           Ensemble <-> the attributes of a TreeEnsemble node
    walk                           what an Ensemble computes, in plain numpy
    *_adapter                      the front ends' faces: convert, open_source (the library itself), samples, save

A library is imported by its adapter alone, and only to be asked for its own predictions (scikit-learn: to load files).
"""
