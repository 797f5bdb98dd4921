"""Run by test_triton_client.py in a process of its own: prints what tritonclient saw."""

import json
import sys

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

client = triton.InferenceServerClient(sys.argv[1])
token = {"headers": {"x-auth-token": sys.argv[2]}} if len(sys.argv) > 2 and sys.argv[2] else {}
seen = {
    "live": client.is_server_live(**token),
    "ready": client.is_server_ready(**token),
    "model_ready": client.is_model_ready("dummy_scorer", **token),
    "no_model_ready": client.is_model_ready("nobody", **token),
    "server": client.get_server_metadata(as_json=True, **token)["name"],
    "inputs": client.get_model_metadata("dummy_scorer", as_json=True, **token)["inputs"],
    "index": [
        m["name"] for m in client.get_model_repository_index(as_json=True, **token)["models"]
    ],
}
for datatype, dtype in (("FP64", np.float64), ("FP32", np.float32), ("INT64", np.int64)):
    rows = np.array([[90, 0, 0, 0, 0, 0, 0, 0, 0], [0] * 9], dtype=dtype)
    tensor = triton.InferInput("features", rows.shape, datatype)
    tensor.set_data_from_numpy(rows)
    answer = client.infer(
        "dummy_scorer",
        [tensor],
        outputs=[triton.InferRequestedOutput("scores")],
        request_id="42",
        **token,
    )
    seen[datatype] = answer.as_numpy("scores").tolist()
    seen["id"] = answer.get_response().id
try:
    client.infer("nobody", [tensor], **token)
except InferenceServerException as error:
    seen["unknown"] = [error.status(), error.message()]
client.close()
sys.stdout.write(json.dumps(seen))
