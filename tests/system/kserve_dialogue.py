"""Run in KServe's own environment: its unmodified client, or its model server.

kserve_dialogue.py client ADDRESS TOKEN: prints what InferenceGRPCClient saw.
kserve_dialogue.py server HTTP_PORT GRPC_PORT: serves the model `sums`, two features to their sum.
"""

import asyncio
import json
import sys

import numpy as np


async def ask(address: str, token: str) -> None:
    from kserve import InferenceGRPCClient, InferInput, InferRequest

    headers = [("x-auth-token", token)] if token else []
    client = InferenceGRPCClient(address, timeout=20)
    rows = np.array([[90.0, 0, 0, 0, 0, 0, 0, 0, 0]])
    seen = {
        "live": await client.is_server_live(headers=headers),
        "ready": await client.is_model_ready("dummy_scorer", headers=headers),
    }
    for kind in ("typed", "raw"):
        data = rows.ravel().tolist() if kind == "typed" else None
        tensor = InferInput("features", [1, 9], "FP64", data)
        if kind == "raw":
            tensor.set_data_from_numpy(rows, binary_data=True)
        request = InferRequest(model_name="dummy_scorer", infer_inputs=[tensor])
        answer = await client.infer(request, headers=headers)
        seen[kind] = answer.outputs[0].as_numpy().ravel().tolist()
    await client.close()
    sys.stdout.write(json.dumps(seen))


def serve(http_port: str, grpc_port: str) -> None:
    from kserve import InferOutput, InferResponse, Model, ModelServer

    class Sums(Model):
        def __init__(self):
            super().__init__("sums")
            self.ready = True

        async def get_input_types(self):
            return [{"name": "x", "datatype": "FP64", "shape": [-1, 2]}]

        async def get_output_types(self):
            return [{"name": "total", "datatype": "FP64", "shape": [-1, 1]}]

        async def predict(self, payload, headers=None, response_headers=None):  # noqa: ARG002
            rows = payload.inputs[0].as_numpy()
            total = rows.sum(axis=1, keepdims=True)
            output = InferOutput(name="total", shape=list(total.shape), datatype="FP64")
            output.set_data_from_numpy(total, binary_data=False)
            return InferResponse("1", "sums", [output])

    ports = ["--http_port", http_port, "--grpc_port", grpc_port, "--enable_docs_url", "False"]
    sys.argv = [sys.argv[0], *ports]
    ModelServer(http_port=int(http_port), grpc_port=int(grpc_port), workers=1).start([Sums()])


if sys.argv[1] == "client":
    asyncio.run(ask(*sys.argv[2:4]))
else:
    serve(*sys.argv[2:4])
