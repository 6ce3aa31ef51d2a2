"""The pieces of code in the document "LoRA Training Module", with `src.training` replaced by `trainer_core.remote`.

Where the document leaves something out ("[...]", "{...}"), its place has a name in capitals.
"""

IMAGES = [f"s3://bucket/user/style/image{number}.jpg" for number in range(1, 16)]

BASIC_STYLE = """
from trainer_core.remote import train_style

result = train_style(
    style_id="my-style-123",
    image_urls=[
        "s3://bucket/user/style/image1.jpg",
        "s3://bucket/user/style/image2.jpg",
    ],
    user_id="user-456",
    tenant_id="tenant-789"
)

print(f"Job ID: {result['job_id']}")
print(f"Status: {result['status']}")  # "started"
"""

BASIC_ACTOR = """
from trainer_core.remote import train_actor

result = train_actor(
    actor_id="actor-abc",
    image_urls=["s3://bucket/user/actor/image1.jpg"],
    user_id="user-456",
    tenant_id="tenant-789"
)
"""

CLIENT = """
from trainer_core.remote import TrainingClient

client = TrainingClient(
    api_key="your-runpod-api-key",
    endpoint_id="your-endpoint-id"
)

result = client.train_style(
    style_id="style-123",
    image_urls=IMAGES,
    user_id="user-456",
    tenant_id="tenant-789"
)
"""

HYPERPARAMS = """
from trainer_core.remote import compute_hyperparams

# Compute for 15 style images
hp = compute_hyperparams("custom-styles", 15)
print(f"Learning rate: {hp.learning_rate}")
print(f"Training steps: {hp.max_train_steps}")
"""

CUSTOM = """
from trainer_core.remote import train_style

result = train_style(
    style_id="style-123",
    image_urls=IMAGES,
    user_id="user-456",
    tenant_id="tenant-789",
    learning_rate=0.0005,      # Custom LR
    max_train_steps=1500       # Custom steps
)
"""

BUILDER = """
from trainer_core.remote import LoRATrainingWorkflow

workflow = LoRATrainingWorkflow(
    class_tokens="my-style-token",
    training_type="custom-styles",
    learning_rate=0.0004,
    max_train_steps=1000
).build()

# Use in custom training requests
payload = {
    "input": {
        "workflow": workflow,
        "training_data": {"s3_urls": IMAGES},
        "training_config": CONFIG
    }
}
"""

ERRORS = """
from trainer_core.remote import train_style

try:
    result = train_style(**ARGUMENTS)

    if result["status"] == "started":
        print(f"started: {result['job_id']}")
    elif result["status"] == "failed":
        print(f"failed: {result.get('error')}")

except ValueError as e:
    print(f"Configuration error: {e}")
except Exception as e:
    print(f"Unexpected error: {e}")
"""

TEMPLATE = """
from trainer_core.remote import load_workflow_template

template = load_workflow_template("lora_training_workflow_headless")
# Modify template as needed
"""

CHANGES = """
from trainer_core.remote import LoRATrainingWorkflow

workflow = LoRATrainingWorkflow(
    class_tokens="my-token",
    training_type="custom-styles"
).build()

# Modify specific nodes
workflow["109"]["inputs"]["batch_size"] = 4
workflow["107"]["inputs"]["network_dim"] = 32
"""

ENVIRONMENT = {
    "SB_HP_STYLE_LR": "0.0004",
    "SB_HP_STYLE_SPI": "50",
    "SB_HP_STYLE_MIN": "500",
    "SB_HP_STYLE_MAX": "2000",
    "SB_HP_ACTOR_LR_T1": "0.0004",
    "SB_HP_ACTOR_LR_T2": "0.0003",
    "SB_HP_ACTOR_LR_T3": "0.00025",
    "SB_HP_ACTOR_T1_MAX": "10",
    "SB_HP_ACTOR_T2_MAX": "20",
    "SB_HP_ACTOR_SPI": "100",
    "SB_HP_ACTOR_MIN": "800",
    "SB_HP_ACTOR_MAX": "3000",
}
"""The optional variables with the values that the document shows."""


def run(code: str, **names: object) -> dict[str, object]:
    """The names that a piece of code leaves behind."""
    space: dict[str, object] = {"IMAGES": IMAGES, **names}
    exec(compile(code, "snippet", "exec"), space)
    return space
