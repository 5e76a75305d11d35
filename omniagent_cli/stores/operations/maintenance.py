"""Maintenance operations: encryption in place, synchronization, check and facts of a whole store."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from omniagent_cli.stores.backend import ListQuery
from omniagent_cli.stores.encryption.cipher import Key
from omniagent_cli.stores.operations.read import ReadOperations
from omniagent_cli.stores.operations.remove import RemoveOperations
from omniagent_cli.stores.operations.trash import TrashOperations
from omniagent_cli.stores.store_base import StoreBase

if TYPE_CHECKING:
    from omniagent_cli.stores.maintenance.check import CheckReport
    from omniagent_cli.stores.maintenance.rekey import RekeyReport
    from omniagent_cli.stores.sync.driver import SyncReport


class MaintenanceOperations(ReadOperations, RemoveOperations, TrashOperations):
    """Operations on a whole store; each loads its module when it is called."""

    def encrypt(self, key: Key, progress: Callable[[int], object] | None = None) -> RekeyReport:
        """Encrypt the whole store in place; afterwards none of its files contains plain text.

        Other programs continue if they have the key and are refused otherwise. Call it again to resume after an
        interruption. The report names backups that are still plain.

        Args:
            key: 16, 24 or 32 bytes, or a `Passphrase`. Without it the sessions are lost.
            progress: called with the number of messages processed since the last call.

        Raises:
            DecryptionError: the store is encrypted, or partly encrypted, with another key.
            StoreCorrupt: damaged sessions could not be encrypted; all others are.
            StoreLocked: a reader prevented wiping the plain text; repeat.
        """
        from omniagent_cli.stores.maintenance.rekey import encrypt

        return encrypt(self, key, progress)

    def rekey(self, new_key: Key, progress: Callable[[int], object] | None = None) -> RekeyReport:
        """Encrypt an encrypted store with another key.

        This object has the old key (see `with_encryption`) and then the new one. During the change, holders of the new
        key read and write everything, holders of only the old one are refused. Call it again to resume.

        Raises:
            EncryptedStore: the store is not encrypted, or only partly.
            DecryptionError: this object does not have the store's key.
        """
        from omniagent_cli.stores.maintenance.rekey import rekey

        return rekey(self, new_key, progress)

    def sync(self, other: StoreBase, **options: Any) -> SyncReport:
        """Bring this store and another one to the same content, whatever their backends.

        Both then have all messages of both that were not removed, in the same order, and the last value of every title,
        tag, metadata and state key. What one side removed is moved to the trash of the other.

        Args:
            other: the other store.
            options: ``dry_run``, ``pull`` (change this store), ``push`` (change the other one) and ``progress``; see
                `stores.sync.driver.sync_with`.
        """
        from omniagent_cli.stores.sync.driver import sync

        return sync(self, other, **options)

    def check(self, *, repair: bool = False) -> CheckReport:
        """Check the whole store for damage; see `stores.maintenance.check`.

        Args:
            repair: repair what can be repaired, after copying the store.
        """
        from omniagent_cli.stores.maintenance.check import check

        return check(self, repair=repair)

    def info(self) -> dict[str, Any]:
        """Return facts about the store: backend, url, capabilities, counts, encryption, and those of the backend."""
        facts = {"backend": self.backend, "url": self.url, **self.capabilities.facts()}
        facts["sessions"] = self.count(archived=None)
        facts["expired"] = self.count_expired()
        encryption = self.encryption()
        if encryption is None or self.has_key:
            facts["trash"] = len(self.trash())
        else:
            facts["trash"] = self.read_unit(lambda unit: unit.tx.count(ListQuery(hidden=True)))
        facts["compressed"] = self.codec.compress
        facts["encryption"] = encryption["state"] if encryption else "none"
        return facts
