"""``trimtab-fakecloud``: runs a fake cloud until it is stopped."""

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path

import uvloop
import yaml

from trimtab_fakecloud.errors import ClusterFileError
from trimtab_fakecloud.running import FakeCloud, running_fakecloud
from trimtab_fakecloud.settings import CloudSpec


def main(arguments: list[str] | None = None) -> int:
    """Run the command; gives its exit code."""
    options = _parser().parse_args(arguments)
    try:
        uvloop.run(_run(options))
    except ClusterFileError as error:
        sys.stderr.write(f"trimtab-fakecloud: {error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"trimtab-fakecloud: cannot start: {error}\n")
        return 1
    return 0


async def _run(options: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with running_fakecloud(_spec(options), host=options.host, port=options.port) as cloud:
        if options.clouds_yaml:
            write_clouds_yaml(cloud, options.clouds_yaml)
        _announce(cloud, options.clouds_yaml)
        await stopped.wait()


def write_clouds_yaml(cloud: FakeCloud, path: Path) -> None:
    """Write a clouds.yaml with ``fakecloud`` (admin) and ``watcher``, for its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)  # if it was there before
    path.write_text(yaml.safe_dump(cloud.clouds_yaml_dict(), sort_keys=False))


def _announce(cloud: FakeCloud, clouds_yaml: Path | None) -> None:
    state = cloud.state
    lines = [
        f"fake cloud: {len(state.hosts)} hosts, {len(state.servers)} servers",
        f"Keystone    {cloud.auth_url}",
        f"Prometheus  {cloud.prometheus_url}",
        f"control     {cloud.base_url}/control/state",
    ]
    if cloud.notification_exchange:
        lines.append(f"RabbitMQ    exchange {cloud.notification_exchange}")
    if clouds_yaml:
        lines.append(f"clouds.yaml {clouds_yaml} (clouds fakecloud, watcher)")
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()


def _spec(options: argparse.Namespace) -> CloudSpec:
    return CloudSpec(
        hosts=options.hosts,
        servers=options.servers,
        seed=options.seed,
        cluster_file=options.cluster,
        migration_s=options.migration_seconds,
        fail_ratio=options.fail_ratio,
        max_concurrent_live_migrations=options.max_live_migrations,
        token_lifetime_s=options.token_seconds,
        infra_optim_url=options.infra_optim_url,
        rabbit_url=options.rabbit_url,
        notification_exchange=options.notification_exchange,
    )


def _parser() -> argparse.ArgumentParser:
    default = CloudSpec()
    parser = argparse.ArgumentParser(prog="trimtab-fakecloud", description=__doc__)
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=int, default=15000, help="0 takes a free one")
    add("--hosts", type=_count, default=default.hosts, help="hosts to generate")
    add("--servers", type=_count, default=default.servers, help="servers to generate")
    add("--seed", type=int, default=default.seed)
    add("--cluster", type=Path, help="take the contents from this cluster file (peer-cluster/1)")
    add("--migration-seconds", type=_seconds, default=default.migration_s)
    add("--fail-ratio", type=_ratio, default=default.fail_ratio, help="live migrations that fail")
    add("--max-live-migrations", type=_count, default=default.max_concurrent_live_migrations)
    add("--token-seconds", type=_seconds, default=default.token_lifetime_s)
    add("--infra-optim-url", default=default.infra_optim_url, help="endpoint in the catalogue")
    add("--rabbit-url", help="send Nova's notifications there, amqp:// or rabbit://")
    add("--notification-exchange", default="", help="default: nova-fakecloud-PORT")
    add("--clouds-yaml", type=Path, help="write a clouds.yaml there")
    return parser


def _count(text: str) -> int:
    return int(_bounded(text, float("inf")))


def _seconds(text: str) -> float:
    return _bounded(text, float("inf"))


def _ratio(text: str) -> float:
    return _bounded(text, 1.0)


def _bounded(text: str, most: float) -> float:
    value = float(text)
    if not 0 <= value <= most or value == float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {most}")
    return value


if __name__ == "__main__":
    sys.exit(main())
