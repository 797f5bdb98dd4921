"""Where notifications come from, in operators' words."""

import pytest

from trimtab_collector.notifications.settings import NotificationSettings, Topic
from trimtab_collector.settings import GROUPS, CollectorSettings
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.notify.transport import amqp_urls
from trimtab_common.runtime.settings import load


def settings_of(tmp_path, text):
    path = tmp_path / "trimtab.conf"
    path.write_text(text)
    _, conf = load(["--config-file", str(path)], prog="test", groups=GROUPS)
    return CollectorSettings.from_conf(conf, host="node", address="127.0.0.1:9325").notifications


def test_without_a_url_there_are_none(tmp_path):
    assert settings_of(tmp_path, "") is None


def test_a_url_is_enough(tmp_path):
    own = settings_of(
        tmp_path, "[oslo_messaging_notifications]\ntransport_url = rabbit://u:pw@mq\n"
    )
    assert own == NotificationSettings(
        urls=("amqp://u:pw@mq:5672/%2F",),
        queue="trimtab-collector.node.9325.nova",
        topics=own.topics,
    )
    assert own.topics == (
        Topic("nova", "versioned_notifications"),
        Topic("openstack", "notifications"),
    )
    assert own.topics[0].routing_key == "versioned_notifications.*"
    assert "pw" not in repr(own)


@pytest.mark.req("C-049")
def test_topics_name_their_exchange(tmp_path):
    own = settings_of(
        tmp_path,
        """
[oslo_messaging_notifications]
transport_url = amqp://mq/
[oslo_messaging_rabbit]
amqp_durable_queues = true
[watcher_decision_engine]
notification_topics = nova.versioned_notifications, openstack.notifications, plain
[collector]
notification_queue = mine
notification_queue_length = 1000
notification_queue_type = quorum
""",
    )
    assert own.topics == (
        Topic("nova", "versioned_notifications"),
        Topic("openstack", "notifications"),
        Topic("nova", "plain"),
    )
    assert (own.queue, own.queue_length, own.queue_type) == ("mine", 1000, "quorum")
    assert own.durable_exchange


@pytest.mark.parametrize(
    ("transport_url", "urls"),
    [
        ("rabbit://u:p@h:1/", ("amqp://u:p@h:1/%2F",)),
        ("rabbit://u:p@h:1//", ("amqp://u:p@h:1/%2F",)),
        ("rabbit://u:p@h:1/v", ("amqp://u:p@h:1/v",)),
        ("amqp://u:p%40x@h/a%2Fb", ("amqp://u:p%40x@h:5672/a%2Fb",)),
        ("rabbit://a:1@x:1,b:2@y:2/v", ("amqp://a:1@x:1/v", "amqp://b:2@y:2/v")),
        ("rabbit://u:p@[::1]:7/v", ("amqp://u:p@[::1]:7/v",)),
        ("rabbit://u:p@[::1]/v", ("amqp://u:p@[::1]:5672/v",)),
        ("amqps://u:p@h/", ("amqps://u:p@h:5671/%2F",)),
        ("rabbit://u:p@h/v?ssl=1&x=2", ("amqps://u:p@h:5671/v?x=2",)),
    ],
)
def test_transport_urls_of_oslo_become_amqp(transport_url, urls):
    assert amqp_urls(transport_url) == urls


@pytest.mark.parametrize("url", ["kombu://u:hush@h", "u:hush@h", "rabbit:///v", "kafka://hush"])
def test_other_urls_are_refused_without_repeating_them(url):
    with pytest.raises(InvalidArgument) as refused:
        amqp_urls(url)
    assert "hush" not in str(refused.value)
