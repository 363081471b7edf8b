"""Azure OpenAI's audio API: OpenAI's, with the model's name in the path and any ``api-version``."""

from fastapi import FastAPI

from serve_app.api.call import CallContext
from serve_app.api.facades.openai import install_audio, install_models


def install_azure_openai(app: FastAPI, context: CallContext) -> None:
    """Answer under a deployment's path, and without it where @ai-sdk/azure leaves it out."""
    base = "/openai/deployments/{deployment}"
    install_audio(app, context, base, unknown_model="DeploymentNotFound")
    install_audio(app, context, "/openai")
    install_models(app, context, "/openai")
