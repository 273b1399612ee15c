"""The server: models behind the Open Inference Protocol and the OpenAI API, with arms, logs and metrics."""
