"""A real Aetos from its package, before a Prometheus; the fake cloud's Keystone checks tokens."""

from __future__ import annotations

import contextlib

from datasource_processes import environment, free_port, running

PACKAGES = ("aetos==3.0.0",)
__all__ = ["aetos", "free_port", "keystone_options"]


@contextlib.contextmanager
def aetos(folder, port, prometheus_port, keystone):
    """Its URL. `keystone`: keystonemiddleware's options; None: it asks for no token."""
    home = environment("aetos", PACKAGES)
    conf = folder / ".aetos" / "aetos.conf"  # where keystonemiddleware looks for it too
    conf.parent.mkdir(exist_ok=True)
    auth = "".join(f"{name} = {value}\n" for name, value in (keystone or {}).items())
    conf.write_text(
        f"[DEFAULT]\nauth_mode = {'keystone' if keystone else 'noauth'}\n"
        f"[prometheus]\nhost = 127.0.0.1\nport = {prometheus_port}\n"
        f"[keystone_authtoken]\n{auth}"
    )
    command = [home / "bin/aetos-api", "--host", "127.0.0.1", "--port", port, "--"]
    command += ["--config-file", conf]
    url = f"http://127.0.0.1:{port}"
    home_of = {"HOME": str(folder)}
    with running(command, folder / "aetos.log", url + "/healthcheck", env=home_of):
        yield url


def keystone_options(auth):
    """keystonemiddleware's, from the auth of a clouds.yaml."""
    return {"auth_type": "password", **{name: auth[name] for name in auth if name != "auth_url"}}
