"""From a model or a decision to a platform: manifests, archives, SavedModels, pipelines, applications of Ray Serve."""
