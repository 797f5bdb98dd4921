"""Placement's book: which consumer holds how much of which provider."""

from collections import defaultdict
from collections.abc import Mapping

from trimtab_fakecloud.hosts import Host, Resources


class Allocations:
    """Allocations by consumer, with the usage of each provider kept up to date."""

    def __init__(self) -> None:
        self._by_consumer: dict[str, dict[str, Resources]] = {}
        self._by_provider: defaultdict[str, dict[str, Resources]] = defaultdict(dict)
        self._used: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))

    def claim(self, consumer: str, host: Host, wanted: Resources) -> None:
        """Let the consumer hold so much of a host, beside what it holds elsewhere."""
        self._drop(consumer, host.uuid)
        self._by_consumer.setdefault(consumer, {})[host.uuid] = wanted
        self._by_provider[host.uuid][consumer] = wanted
        for name, amount in wanted.items():
            self._used[host.uuid][name] += amount
        host.generation += 1

    def release(self, consumer: str) -> None:
        """Let the consumer hold nothing."""
        for provider in list(self._by_consumer.get(consumer, ())):
            self._drop(consumer, provider)
        self._by_consumer.pop(consumer, None)

    def move(self, consumer: str, heir: str) -> None:
        """Give all that one consumer holds to another, which loses what it had."""
        self.release(heir)
        held = self._by_consumer.pop(consumer, {})
        if held:
            self._by_consumer[heir] = held
        for provider, amounts in held.items():
            del self._by_provider[provider][consumer]
            self._by_provider[provider][heir] = amounts

    def of_consumer(self, consumer: str) -> Mapping[str, Resources]:
        """Provider uuid to what the consumer holds there."""
        return self._by_consumer.get(consumer, {})

    def of_provider(self, provider: str) -> Mapping[str, Resources]:
        """Consumer to what it holds of the provider."""
        return self._by_provider.get(provider, {})

    def used(self, provider: str) -> Mapping[str, int]:
        """Usage by resource class."""
        return self._used[provider]

    def fits(self, host: Host, wanted: Resources) -> bool:
        """The host has room for so much more."""
        used = self._used[host.uuid]
        return all(
            used[name] + amount <= host.inventories[name].capacity
            for name, amount in wanted.items()
        )

    def free(self, host: Host, resource_class: str) -> int:
        """Room left."""
        return host.inventories[resource_class].capacity - self._used[host.uuid][resource_class]

    def _drop(self, consumer: str, provider: str) -> None:
        held = self._by_consumer.get(consumer, {}).pop(provider, None)
        if held is None:
            return
        del self._by_provider[provider][consumer]
        for name, amount in held.items():
            self._used[provider][name] -= amount
