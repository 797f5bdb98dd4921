"""Where notifications go, in operators' words."""

import pytest

from trimtab_api.outbox.bus import make_buses
from trimtab_api.outbox.settings import GROUPS, OutboxSettings
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.runtime.settings import load


def settings_of(tmp_path, text):
    path = tmp_path / "trimtab.conf"
    path.write_text(text)
    common, conf = load(["--config-file", str(path)], prog="test", groups=GROUPS)
    return common, OutboxSettings.from_conf(conf)


def test_without_a_driver_nothing_is_sent_though_a_bus_is_named_for_the_collector(tmp_path):
    common, own = settings_of(
        tmp_path, "[oslo_messaging_notifications]\ntransport_url = rabbit://u:pw@mq\n"
    )
    assert make_buses(own) is None
    assert common.notification_level == "info"


@pytest.mark.req("A-120")
def test_watchers_options_are_understood(tmp_path):
    common, own = settings_of(
        tmp_path,
        """
[DEFAULT]
notification_level = error
transport_url = rabbit://u:pw@one,u:pw@two:5673/watcher
control_exchange = mine
[oslo_messaging_notifications]
driver = messagingv2
driver = log
topics = notifications, tap
[oslo_messaging_rabbit]
amqp_durable_queues = true
""",
    )
    assert own == OutboxSettings(
        drivers=("messagingv2", "log"),
        urls=("amqp://u:pw@one:5672/watcher", "amqp://u:pw@two:5673/watcher"),
        exchange="mine",
        topics=("notifications", "tap"),
        durable=True,
    )
    assert common.notification_level == "error"
    assert "pw" not in repr(own)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("driver = pigeon", "'pigeon' is not known; use one of messagingv2"),
        ("driver = messagingv2", "needs a transport_url"),
        ("driver = messagingv2\ntransport_url = http://mq", "begins with 'http'"),
        ("driver = messagingv2\ntransport_url = rabbit://mq\ntopics =", "topics is empty"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_write_instead(tmp_path, text, words):
    with pytest.raises(InvalidArgument, match=words):
        settings_of(tmp_path, f"[oslo_messaging_notifications]\n{text}\n")
