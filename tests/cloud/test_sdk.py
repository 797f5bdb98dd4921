"""The SDK beside openstacksdk, before the real Keystone: found in its catalogue, with its tokens."""

from __future__ import annotations

import openstack
import pytest

from trimtab_sdk import connected

pytestmark = pytest.mark.filterwarnings("ignore::openstack.warnings._RemovedInSDKWarning")
CATALOGUE_PORT = 9322


@pytest.mark.req("C-169")
def test_the_sdk_finds_the_service_in_the_catalogue_and_plans(system, clouds_yaml, note):
    del clouds_yaml
    assert system.ports.gateway == CATALOGUE_PORT, "the catalogue names another"
    with openstack.connect(cloud="devcloud") as connection:
        optim = connected(connection).infra_optim
        made = optim.create_audit(audit_type="ONESHOT", goal="dummy", strategy="dummy")
        audit = optim.wait_for_audit(made, every_s=0.2, wait_s=60)
        (plan,) = optim.action_plans(audit_uuid=audit.id)
        note("planned by the SDK", (audit.state, plan.state, len(list(optim.goals()))))
        assert (audit.state, plan.state) == ("SUCCEEDED", "RECOMMENDED")
        assert optim.get_data_model()["context"]
