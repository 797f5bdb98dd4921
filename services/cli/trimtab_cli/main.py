"""The `trimtab` command."""

from __future__ import annotations

import dataclasses
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import click

from trimtab_cli import (
    audits,
    databases,
    documents,
    gateway,
    gateway_settings,
    metrics,
    models,
    plans,
    policies,
    simulation,
)
from trimtab_cli.configuration import SystemSpec
from trimtab_cli.demo import demo as run_demo
from trimtab_cli.output import console
from trimtab_cli.ports import (
    DEFAULT_BASE,
    DEFAULT_FAKECLOUD,
    LAST_PORT,
    METRICS_OFFSET,
    ROW_LENGTH,
    Ports,
)
from trimtab_cli.processes import StartError
from trimtab_cli.rest import RestError
from trimtab_cli.system import running
from trimtab_cli.target import Target

WATCH_CHILDREN_S = 1.0


@click.group()
@click.option(
    "--address",
    envvar="TRIMTAB_ADDRESS",
    default="127.0.0.1:9322",
    show_default=True,
    help="The gateway.",
)
@click.option("--token", envvar="OS_TOKEN", help="Keystone token.")
@click.option("--cloud", envvar="OS_CLOUD", help="Get the token for this cloud of clouds.yaml.")
@click.pass_context
def main(context: click.Context, address: str, token: str | None, cloud: str | None) -> None:
    """Trimtab: few moves, explained, carried out safely."""
    context.obj = Target(address, token=token, cloud=cloud)


main.add_command(audits.group)
main.add_command(plans.group)
main.add_command(models.group)
main.add_command(metrics.group)
main.add_command(simulation.command)
main.add_command(databases.group)
main.add_command(policies.group)
main.add_command(documents.openapi)


def _ports(base: int, fakecloud: int) -> Ports:
    if base <= fakecloud < base + ROW_LENGTH:
        raise click.UsageError(
            f"--fakecloud-port {fakecloud} lies inside the row {base} to {base + ROW_LENGTH - 1} "
            "of --base-port; choose one outside."
        )
    return Ports(base=base, fakecloud=fakecloud)


def base_port_options(command: Any) -> Any:
    """Adds the options that move the whole row of ports."""
    base = click.IntRange(1024, LAST_PORT - METRICS_OFFSET - ROW_LENGTH)
    command = click.option("--base-port", type=base, default=DEFAULT_BASE, show_default=True)(
        command
    )
    return click.option(
        "--fakecloud-port",
        type=click.IntRange(1024, LAST_PORT),
        default=DEFAULT_FAKECLOUD,
        show_default=True,
    )(command)


@main.command()
@click.option("--cloud", help="Name in clouds.yaml; default: the fake cloud.")
@click.option("--hosts", default=8, show_default=True, help="Hosts of the fake cloud.")
@click.option("--servers", default=40, show_default=True, help="Servers of the fake cloud.")
@click.option("--cluster", type=click.Path(exists=True), help="Cluster file for the fake cloud.")
@click.option(
    "--state-dir", type=click.Path(path_type=Path), help="Default: ~/.local/state/trimtab"
)
@click.option("--database", help="SQLAlchemy URL; default: SQLite in the state directory.")
@click.option(
    "--auth",
    type=click.Choice(["keystone", "none"]),
    help="Who may call; default: keystone with --cloud, none with the fake cloud.",
)
@click.option(
    "--rabbit-url",
    envvar="TRIMTAB_RABBIT_URL",
    help="Broker of Nova's notifications (rabbit://user:password@host:5672/); default: polling.",
)
@click.option(
    "--config-file",
    "config_files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path),
    help="Your own settings for all services, read after ours. Repeatable.",
)
@base_port_options
def up(
    *,
    cloud: str | None,
    hosts: int,
    servers: int,
    cluster: str | None,
    state_dir: Path | None,
    database: str | None,
    auth: str | None,
    rabbit_url: str | None,
    config_files: tuple[Path, ...],
    base_port: int,
    fakecloud_port: int,
) -> None:
    """Start everything on this machine and keep it running until Ctrl-C."""
    signal.signal(signal.SIGTERM, _interrupt)
    contents = (
        ("--cluster", cluster) if cluster else ("--hosts", str(hosts), "--servers", str(servers))
    )
    spec = SystemSpec(
        state_dir=state_dir or Path.home() / ".local/state/trimtab" / (cloud or "fakecloud"),
        ports=_ports(base_port, fakecloud_port),
        cloud=cloud,
        fakecloud_args=tuple(contents),
        database=database,
        auth=auth,
        rabbit_url=rabbit_url,
        config_files=config_files,
    )
    try:
        with running(spec, say=console.print) as system:
            console.print(f"REST, gRPC   {system.url}")
            console.print(f"logs         {spec.state_dir / 'logs'}")
            if cloud is None:
                console.print(f"fake cloud   {system.fakecloud_url}  (ledger: /control/ledger)")
                console.print(f"clouds.yaml  {spec.state_dir / 'clouds.yaml'}")
            console.print("Ctrl-C stops everything.")
            while True:
                time.sleep(WATCH_CHILDREN_S)
                for line in system.supervisor.restart_failed():
                    console.print(f"[yellow]{line}[/]")
    except StartError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        console.print("stopped")


@main.command()
@click.option("--hosts", default=8, show_default=True)
@click.option("--servers", default=40, show_default=True)
@click.option("--seed", default=1, show_default=True)
@base_port_options
def demo(*, hosts: int, servers: int, seed: int, base_port: int, fakecloud_port: int) -> None:
    """Consolidate the fake cloud from POST to SUCCEEDED, with pictures; then stop everything."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = run_demo(
            ports=_ports(base_port, fakecloud_port),
            hosts=hosts,
            servers=servers,
            seed=seed,
            console=console,
        )
    except (StartError, RestError) as error:
        raise click.ClickException(str(error)) from error
    sys.exit(code)


@main.command("gateway")
@click.option(
    "--config-file",
    "config_files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Operators' file: [api] host, port and enable_ssl_api, and the files of [ssl].",
)
@click.option("--bind", help="Instead of [api] host.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Instead of [api] port.  [default: 9322]")
@click.option("--api", default="127.0.0.1:9324", show_default=True)
@click.option("--api-http", default="127.0.0.1:9323", show_default=True)
@click.option("--collector", default="127.0.0.1:9325", show_default=True)
@click.option(
    "--other-collector",
    "other_collectors",
    multiple=True,
    help="One more of the same cloud, asked while those before do not answer.",
)
@click.option("--scoring", default="127.0.0.1:9328", show_default=True)
def render_gateway(*, config_files: tuple[Path, ...], **fields: Any) -> None:
    """Print Envoy's configuration."""
    try:
        settings = gateway_settings.from_files(config_files)
    except gateway_settings.GatewayRefused as error:
        raise click.ClickException(str(error)) from error
    given = {name: value for name, value in fields.items() if value is not None}
    click.echo(gateway.render(dataclasses.replace(settings, **given)))


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
