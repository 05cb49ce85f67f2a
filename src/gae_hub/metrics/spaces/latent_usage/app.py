"""A page that measures files from its visitor; made by scripts/make_spaces.py."""

from gae_hub.metrics.gradio_app import build_app

if __name__ == "__main__":
    build_app("latent_usage").launch()
