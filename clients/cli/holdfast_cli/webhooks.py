"""`holdfast webhook`: where the movements of sales are told."""

from typing import Annotated, Final

import typer
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from holdfast.inventory.v1.movement_pb2 import Movement
from holdfast.inventory.v1.webhook_service_pb2 import Webhook as WebhookMessage
from holdfast_cli.arguments import Limit, Webhook, choices, parse_choice, parse_duration
from holdfast_cli.session import Session, command

app: Final = typer.Typer(no_args_is_help=True, help="Tell the movements of sales elsewhere.")

_KINDS: Final = choices(Movement.Kind)


def _create(
    session: Session,
    *,
    webhook_id: Annotated[str, typer.Argument(metavar="ID", help="The new webhook's id.")],
    url: Annotated[str, typer.Argument(metavar="URL", help="Where messages are sent, by POST.")],
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="KIND", help=f"Only this kind: {_KINDS}. Repeatable."),
    ] = None,
    sale: Annotated[str, typer.Option("--sale", metavar="SALE", help="Only this sale. Default: all.")] = "",
    schedule: Annotated[str, typer.Option("--schedule", metavar="SCHEDULE", help="Only this schedule's sales.")] = "",
) -> Message:
    """Create a webhook. Its secret is shown this once: store it where the receiver finds it."""
    webhook = WebhookMessage(
        url=url,
        kinds=[parse_choice(Movement.Kind, kind) for kind in kinds or ()],
        sale=f"sales/{sale.removeprefix('sales/')}" if sale else "",
        schedule=f"saleSchedules/{schedule.removeprefix('saleSchedules/')}" if schedule else "",
    )
    return session.client.create_webhook(webhook_id=webhook_id, webhook=webhook)


command(app, "create", "webhook create erp https://erp.example.com/holdfast --kind confirm --kind return")(_create)


def _list(session: Session, *, limit: Limit = 50) -> None:
    """List webhooks."""
    session.show_all(session.client.list_webhooks(), limit)


command(app, "list", "webhook list")(_list)


def _show(session: Session, *, webhook: Webhook) -> Message:
    """Show a webhook."""
    return session.client.get_webhook(name=webhook)


command(app, "show", "webhook show erp")(_show)


def _pause(session: Session, *, webhook: Webhook) -> Message:
    """Send nothing until it is resumed. What happens meanwhile is sent then."""
    return session.client.pause_webhook(name=webhook)


command(app, "pause", "webhook pause erp")(_pause)


def _resume(session: Session, *, webhook: Webhook) -> Message:
    """Send again, beginning with the first movement that was not delivered."""
    return session.client.resume_webhook(name=webhook)


command(app, "resume", "webhook resume erp")(_resume)


Overlap = Annotated[
    Duration | None,
    typer.Option(
        "--overlap",
        parser=parse_duration,
        metavar="DURATION",
        help="How long the old secret is valid, too. Default: 1d.",
    ),
]


def _ended_by_rotation(session: Session, *, webhook: Webhook, overlap: Overlap = None) -> str:
    session.client.get_webhook(name=webhook)
    hours = 24.0 if overlap is None else overlap.seconds / 3600
    return f"{webhook} gets a new secret. Messages are signed with the old one, too, for {hours:g} hours."


def _rotate(session: Session, *, webhook: Webhook, overlap: Overlap = None) -> Message:
    """Replace the secret, and show the new one this once."""
    return session.client.rotate_webhook_secret(name=webhook, overlap=overlap)


command(app, "rotate", "webhook rotate erp --overlap 1h", asks=_ended_by_rotation)(_rotate)


def _deliveries(
    session: Session,
    *,
    webhook: Webhook,
    limit: Limit = 50,
) -> None:
    """List how far the movements of each sale have been delivered."""
    session.show_all(session.client.list_webhook_deliveries(parent=webhook), limit)


command(app, "deliveries", "webhook deliveries erp")(_deliveries)


def _changes(session: Session, *, webhook: Webhook, limit: Limit = 50) -> None:
    """List who changed a webhook, when, and what."""
    session.show_all(session.client.list_webhook_changes(parent=webhook), limit)


command(app, "changes", "webhook changes erp")(_changes)


def _redeliver(
    session: Session,
    *,
    webhook: Webhook,
    sale: Annotated[str, typer.Argument(metavar="SALE", help="The sale whose movements are sent.")],
    after: Annotated[
        int | None,
        typer.Option(
            "--after", metavar="SEQUENCE", min=0, help="Send what follows this one. Default: what was not sent."
        ),
    ] = None,
) -> Message:
    """Send a sale's movements at once: those that were parked, or again from an earlier one."""
    name = f"{webhook}/deliveries/{sale.removeprefix('sales/')}"
    return session.client.redeliver_movements(name=name, after_sequence=after)


command(app, "redeliver", "webhook redeliver erp drop-1 --after 100")(_redeliver)


def _ended_by_delete(session: Session, *, webhook: Webhook) -> str:
    found = session.client.get_webhook(name=webhook)
    return f"Nothing more is sent to {found.url}, and what is waiting is dropped."


def _delete(session: Session, *, webhook: Webhook) -> None:
    """Delete a webhook."""
    session.client.delete_webhook(name=webhook)
    session.note(f"{webhook} is deleted")


command(app, "delete", "webhook delete erp", asks=_ended_by_delete)(_delete)
