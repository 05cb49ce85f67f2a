"""Opens every kind of source: image folders, files of arrays and tables, Hub data sets, arrays, torch data sets.

`opening` chooses by content; each other file opens one kind as `Split` objects, which `base` defines. A new kind of
source is one file with a subclass of `Split`, and one branch in `opening.open_source`.
"""
