"""The bundler: reads the pipe's modules, refuses what a flat file cannot carry, writes the file.

The way of a build, one module per step:

    config ──► package ──► rules ──► order ──► flatten ──► write ──► verify
    pyproject  modules     findings            sections    text      compiles, loads

Two constants exist only because of the bundle.

`BUNDLE_MAP` stands at the end of the flat file: `{"core/errors.py": ((here, there, count), ...)}`
says that `count` lines from line `here` of the flat file are the lines from `there` of that source
file. As modules the name does not exist; code that translates its own traceback asks
`globals().get("BUNDLE_MAP")`, so that both forms run.

`FILTER_SOURCES` is the text of each stand-alone filter, by file name. As modules,
`filters/sources.py` reads the files beside it; in the bundle the same name holds string constants.
"""
