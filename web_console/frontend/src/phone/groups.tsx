/** The groups of this phone: one is chosen to talk in, several can be listened to; each says who talks there now. */
import { beat } from "../clock.ts";
import { Icon } from "../icon.tsx";
import type { Group } from "../messages.ts";
import { say } from "../strings/phone-talk.ts";
import { cardWords } from "../voice/card-words.ts";
import type { PhoneModel } from "./model.ts";

export function Groups({ model }: { model: PhoneModel }) {
  const groups = model.radio.groups.value;
  const known = model.world.value.rev > 0;
  return (
    <section class="groups" aria-label={say("groups")}>
      {groups.length === 0 && known && <p class="dim none">{say("groups_none")}</p>}
      <ul>
        {groups.map((group) => (
          <Row key={group.id} model={model} group={group} />
        ))}
      </ul>
    </section>
  );
}

function Row({ model, group }: { model: PhoneModel; group: Group }) {
  const { radio } = model;
  beat.value; // seconds are counted
  const card = radio.card(group);
  const words = cardWords(card);
  const chosen = card.selection !== "none";
  const n = radio.hearers(group);
  return (
    <li class={`group look-${words.look} ${chosen ? "chosen" : ""}`} data-activity={card.activity.kind}>
      <button
        type="button"
        class="group-choose"
        aria-pressed={chosen}
        data-choose={group.id}
        onClick={() => {
          radio.choose(group.id);
          if (model.sheet.peek() === "groups") model.sheet.value = "";
        }}
      >
        <Icon name={chosen ? "circle-check" : "circle-dashed"} size={24} />
        <span class="group-text">
          <strong>{group.name}</strong>
          <span class="group-state">
            {card.emergency && <Icon name="siren" size={16} />}
            {words.icon && <Icon name={words.icon} size={16} />}
            <span>{words.text}</span>
            {group.patch && <span class="patch">{group.patch}</span>}
            {card.activity.kind !== "lost" && (
              <span class="dim num">
                <Icon name="ear" size={14} /> {n}
              </span>
            )}
          </span>
        </span>
        <span class="only-read">{say("group_choose", { name: group.name })}</span>
      </button>
      <button
        type="button"
        class="group-listen"
        aria-pressed={card.listening}
        aria-label={chosen ? say("group_listen_always") : say("group_listen", { name: group.name })}
        disabled={chosen}
        onClick={() => radio.listen(group.id, !card.listening)}
      >
        <Icon name={card.listening ? "ear" : "ear-off"} size={24} />
      </button>
    </li>
  );
}
