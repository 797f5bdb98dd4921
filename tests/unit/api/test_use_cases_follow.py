"""The use cases and the typed face take what the descriptions say, so that a new field is one change."""

from __future__ import annotations

import dataclasses

import pytest

from trimtab.audit.v1 import audit_pb2, audit_template_pb2
from trimtab_api.audit_templates import TemplateDraft
from trimtab_api.audits import AuditDraft
from trimtab_api.typed import audits
from trimtab_common.domain.resources import AUDIT_TEMPLATES, AUDITS


@pytest.mark.req("A-022")
def test_drafts_have_the_members_that_a_post_may_have():
    template = {field.name for field in dataclasses.fields(TemplateDraft)}
    assert template == AUDIT_TEMPLATES.on_create
    audit = {field.name for field in dataclasses.fields(AuditDraft)}
    assert audit == AUDITS.on_create | {"scope"}, "the typed face gives a scope too"


@pytest.mark.req("A-022")
def test_what_a_patch_may_change_the_typed_face_may_change_too():
    assert set(audits.CHANGEABLE.values()) == AUDITS.patchable - {"state"}
    assert set(audits.CHANGEABLE) <= set(audit_pb2.Audit.DESCRIPTOR.fields_by_name)
    fields = set(audit_template_pb2.AuditTemplate.DESCRIPTOR.fields_by_name)
    assert AUDIT_TEMPLATES.patchable <= fields
