"""Which policies and eviction rules there are: one line each.

``supervisor/rules.py`` looks a name up here when a configuration is taken over.
"""

from supervisor.scheduler.contracts import Eviction, Policy
from supervisor.scheduler.evictions.group import Groups
from supervisor.scheduler.policies.fifo import Fifo

POLICIES: dict[str, type[Policy]] = {Fifo.name: Fifo}
EVICTIONS: dict[str, type[Eviction]] = {Groups.name: Groups}
