"""Colours of figures: text and rules, classes that people with colour blindness can tell apart, and a scale."""

__all__ = ["INK", "MUTED", "PALETTE", "PAPER", "RULE", "SCALE"]

INK, MUTED, RULE, PAPER = "#1c2026", "#5c6672", "#d9dde2", "#ffffff"
# Okabe and Ito's colours
PALETTE = {
    "black": "#33383f",
    "blue": "#0072b2",
    "sky": "#3d9fd1",
    "green": "#00916a",
    "orange": "#c98500",
    "vermilion": "#d55e00",
    "purple": "#b5608c",
}
SCALE = "viridis"
