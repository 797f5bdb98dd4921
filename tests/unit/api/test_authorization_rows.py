"""A route or RPC without a row in the authorization table fails here, before any system is up."""

from __future__ import annotations

import dataclasses

import authorization_rows
import pytest
from authorization_rows import TABLE, rows, without_door, without_row, written

from trimtab_api.rest.routes import ROUTES

WHO = ("no-token", "expired", "reader", "member", "admin", "service")


@pytest.mark.req("A-034")
def test_every_route_and_rpc_has_one_row_with_a_cell_for_everybody():
    text = TABLE.read_text()
    assert without_row(text) == set()
    assert without_door(text) == set()
    assert {len(cells) for cells in written(text).values()} == {len(WHO)}
    assert len(rows()) == len(set(rows())) == len(written(text))


@pytest.mark.req("A-034")
def test_a_row_that_is_deleted_is_missed():
    lines = TABLE.read_text().splitlines()
    for row in (rows()[0], rows()[50], rows()[-1]):
        kept = [line for line in lines if line.split()[:3] != list(row)]
        assert without_row("\n".join(kept)) == {row}


@pytest.mark.req("A-034")
def test_a_new_route_without_a_row_is_missed(monkeypatch):
    new = dataclasses.replace(ROUTES[-1], path=("audits", "{ident}", "applause"))
    monkeypatch.setattr(authorization_rows, "ROUTES", (*ROUTES, new))
    missing = without_row(TABLE.read_text())
    assert missing == {("rest", new.method, "/v1/audits/{ident}/applause")}


def test_the_services_of_every_package_are_found():
    packages = {path.split("/")[0].rpartition(".")[0] for door, _, path in rows() if door == "grpc"}
    assert packages == {
        "inference",
        *(
            f"trimtab.{name}.v1"
            for name in (
                *("applier", "audit", "catalog", "decision", "model", "ops", "plan", "rest"),
                "scoring",
            )
        ),
    }
