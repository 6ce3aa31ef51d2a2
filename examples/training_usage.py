"""Shows how trainings are sent to a RunPod endpoint.

Set RUNPOD_API_KEY and MODEL_TRAINING_RUNPOD_ENDPOINT_ID in the environment, or in a file `.env` in the working folder. The images
must be in a bucket that the endpoint can read:

    python examples/training_usage.py                            # computes and builds only, sends nothing
    python examples/training_usage.py style my-style s3://bucket/style/a.jpg s3://bucket/style/b.jpg
    python examples/training_usage.py actor my-actor s3://bucket/actor/a.jpg s3://bucket/actor/a.txt

A training costs money from its start on.
"""

import argparse

from trainer_core.remote import (
    LoRATrainingWorkflow,
    TrainingClient,
    compute_hyperparams,
    load_workflow_template,
)


def show_hyperparams() -> None:
    """Learning rate and steps for some numbers of images."""
    for kind in ("custom-styles", "custom-actors"):
        for images in (5, 15, 30):
            values = compute_hyperparams(kind, images)
            print(f"{kind}, {images} images: learning rate {values.learning_rate}, {values.max_train_steps} steps")
    values = compute_hyperparams("custom-styles", 30, preset="style-002")
    print(f"style-002, 30 images: learning rate {values.learning_rate}, {values.max_train_steps} steps")


def show_workflow() -> None:
    """A workflow that is built and then changed."""
    workflow = LoRATrainingWorkflow(class_tokens="my-token", training_type="custom-styles").build()
    workflow["109"]["inputs"]["batch_size"] = 4
    workflow["107"]["inputs"]["network_dim"] = 32
    print(f"Built: {len(workflow)} nodes, {workflow['107']['inputs']['max_train_steps']} steps")
    print(f"Template: nodes {', '.join(load_workflow_template('lora_training_workflow_headless'))}")


def train(kind: str, subject: str, urls: list[str]) -> None:
    """Sends one training."""
    client = TrainingClient()
    send = client.train_style if kind == "style" else client.train_actor
    result = send(subject, urls, user_id="example-user", tenant_id="example-tenant")
    if result["status"] == "started":
        print(f"Training started: {result['job_id']}")
        print(f"Its state: easel remote runpod status {result['runpod_job_id']}")
    else:
        print(f"Training failed: {result.get('error')}")


def main() -> None:
    """Reads the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", nargs="?", choices=("style", "actor"))
    parser.add_argument("subject", nargs="?", default="")
    parser.add_argument("urls", nargs="*")
    given = parser.parse_args()
    try:
        if given.kind:
            train(given.kind, given.subject, given.urls)
        else:
            show_hyperparams()
            show_workflow()
    except ValueError as error:
        print(f"Configuration error: {error}")


if __name__ == "__main__":
    main()
