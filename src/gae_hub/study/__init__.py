"""The case study: its declaration, cells, results, tables, figures and findings.

Files here may import all folders before `study`.
"""
