"""What explains a result: the paths we have, what came of them, and what the provider said.

The newest migration that touches a table under a documented view calls
`monitor.store.views.create`; take that call out of the older one.
"""

from alembic import op
from monitor.store import views

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    views.create(op.get_bind())
