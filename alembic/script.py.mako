"""${message}

The newest migration that touches a table under a documented view calls
`monitor.store.views.create`; take that call out of the older one.
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
