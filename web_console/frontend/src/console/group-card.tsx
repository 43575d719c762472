/** A talk group's card: one press selects it, and it says in colour, symbol and words what goes on in it. */
import "../styles/groups.css";
import { beat } from "../clock.ts";
import { Icon } from "../icon.tsx";
import type { Group } from "../messages.ts";
import { cardWord } from "../strings/cards.ts";
import { talk } from "../strings/talk.ts";
import { type CardWords, cardWords } from "../voice/card-words.ts";
import type { Card } from "../voice/groups.ts";
import { useModel } from "./context.ts";

export function GroupCard({ group, large = false }: { group: Group; large?: boolean }) {
  const { desk } = useModel();
  beat.value; // seconds are counted
  const card = desk.card(group);
  const words = cardWords(card);
  const patching = desk.patching.value;
  const chosen = patching?.indexOf(group.id) ?? -1;
  const playing = desk.player.playing.value?.spurt.groups.includes(group.id);
  const heard = group.listeners.filter((one) => one.voice).length;
  return (
    <article
      class={`group look-${words.look} pick-${card.selection} ${large ? "group-large" : ""}`}
      data-group={group.id}
      data-activity={card.activity.kind}
      data-selection={card.selection}
      data-emergency={card.emergency}
    >
      <button
        type="button"
        class="group-main"
        aria-pressed={patching ? chosen >= 0 : card.selection !== "none"}
        aria-label={labelOf(group, card, words)}
        title={words.detail || undefined}
        onClick={(event) => desk.choose(group.id, event.ctrlKey || event.shiftKey || event.metaKey)}
      >
        <span class="group-head">
          <span class="group-number num">{group.number}</span>
          <span class="group-name">{group.name}</span>
          {card.selection !== "none" && <span class="group-tag">{talk("talk_selected")}</span>}
          {card.emergency !== "" && <Icon name="siren" size={16} />}
          {card.patch && <span class="group-patch">{card.patch}</span>}
          {patching && chosen >= 0 && <span class="group-patch">{chosen + 1}</span>}
        </span>
        <span class="group-state">
          {words.icon && <Icon name={words.icon} size={14} />}
          <span class="group-words">{words.text}</span>
          {card.selection !== "none" && words.look === "rx" && words.detail && (
            <span class="group-detail">{words.detail}</span>
          )}
        </span>
        <Strip group={group.id} card={card} />
        {card.emergency === "new" && <span class="group-alarm">{talk("talk_emergency")}</span>}
        {card.emergency === "acknowledged" && (
          <span class="group-alarm">
            {talk("talk_emergency")} {card.owner}
          </span>
        )}
      </button>
      <span class="group-tools">
        {playing && <Icon name="history" size={14} />}
        <span class="group-heard num" title={cardWord("heard_by", { n: heard })}>
          <Icon name="headphones" size={12} /> {heard}
        </span>
        <button
          type="button"
          class="quiet icon-button"
          aria-label={cardWord("group_more", { name: group.name })}
          title={cardWord("group_more", { name: group.name })}
          onClick={() => {
            desk.box.value = { kind: "group", group: group.id };
          }}
        >
          <Icon name="ellipsis" />
        </button>
      </span>
    </article>
  );
}

/** The bar at the lower edge: the level of what is heard, or what is left of the hang time. */
function Strip({ group, card }: { group: string; card: Card }) {
  const { desk } = useModel();
  const { activity } = card;
  if (activity.kind === "hang") {
    return <span class="group-strip" style={{ transform: `scaleX(${activity.share.toFixed(3)})` }} />;
  }
  if (activity.kind !== "receiving") return null;
  const level = desk.talk.levelOf(group);
  return <span class="group-strip" style={{ transform: `scaleX(${level.toFixed(2)})` }} />;
}

function labelOf(group: Group, card: Card, words: CardWords): string {
  return [
    `${group.number} ${group.name}`,
    card.selection === "none" ? "" : talk("talk_selected"),
    words.text,
    words.detail,
    card.patch && cardWord("in_patch", { name: card.patch }),
    card.emergency && `${talk("talk_emergency")} ${card.owner}`,
  ]
    .filter(Boolean)
    .join("，");
}
