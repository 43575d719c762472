/** Groups in the left panel, above the resources: small cards two by two, the selected ones across. */
import { Icon } from "../icon.tsx";
import { cardWord } from "../strings/cards.ts";
import { radio } from "../strings/radio.ts";
import { useModel } from "./context.ts";
import { GroupCard } from "./group-card.tsx";
import { PatchBar } from "./patch-bar.tsx";

export function GroupPanel() {
  const model = useModel();
  const { desk } = model;
  const groups = desk.groups.value;
  return (
    <section class="groups" aria-label={radio("groups")}>
      <header class="panel-head">
        <h2>{radio("groups")}</h2>
        {model.may("group.manage") && (
          <span class="panel-tools">
            <button
              type="button"
              class="quiet icon-button"
              aria-pressed={desk.patching.value !== null}
              title={`${cardWord("patch_mode")} (T)`}
              aria-label={cardWord("patch_mode")}
              onClick={() => desk.togglePatching()}
            >
              <Icon name="link-2" />
            </button>
            <button
              type="button"
              class="quiet icon-button"
              title={cardWord("group_new")}
              aria-label={cardWord("group_new")}
              onClick={() => {
                desk.box.value = { kind: "new" };
              }}
            >
              <Icon name="plus" />
            </button>
          </span>
        )}
      </header>
      <PatchBar />
      {groups.length === 0 && <p class="dim panel-none">{cardWord("groups_none")}</p>}
      <div class="group-cards">
        {groups.map((group) => (
          <GroupCard key={group.id} group={group} large={desk.selected.value.includes(group.id)} />
        ))}
      </div>
    </section>
  );
}
