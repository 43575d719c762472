/** 对讲: all groups at once, patches drawn together, and a search in what was said. */
import "../styles/radio.css";
import { useState } from "preact/hooks";
import { serverTime } from "../clock.ts";
import { Icon } from "../icon.tsx";
import type { Group, Patch } from "../messages.ts";
import { cardWord } from "../strings/cards.ts";
import { radio } from "../strings/radio.ts";
import { box } from "../strings/radio-boxes.ts";
import { clockTime } from "../times.ts";
import { isMuted } from "../voice/levels.ts";
import { listen } from "../voice/tuning.ts";
import { useModel } from "./context.ts";
import { GroupCard } from "./group-card.tsx";
import { GroupVolume } from "./group-volume.tsx";
import { PatchBar } from "./patch-bar.tsx";
import { SpurtSearch } from "./spurt-search.tsx";

export function RadioPage() {
  const model = useModel();
  const { desk } = model;
  const [filter, setFilter] = useState("");
  const wanted = filter.trim().toLowerCase();
  const groups = desk.groups.value.filter(
    (group) =>
      wanted === "" || String(group.number).startsWith(wanted) || group.name.toLowerCase().includes(wanted),
  );
  const patches = [...model.world.value.patch.values()].sort((a, b) => a.name.localeCompare(b.name));
  const patched = new Set(patches.flatMap((patch) => patch.groups));
  return (
    <div class="page radio">
      <section class="radio-groups" aria-label={radio("groups")}>
        <header class="radio-head">
          <h1>{box("radio_title")}</h1>
          <input
            type="search"
            value={filter}
            placeholder={box("filter")}
            aria-label={box("filter")}
            onInput={(event) => setFilter(event.currentTarget.value)}
          />
          <span class="dim num">{box("true_at", { time: clockTime(model.trueAt.value) })}</span>
          <span class="spring" />
          {model.may("group.manage") && (
            <>
              <button
                type="button"
                aria-pressed={desk.patching.value !== null}
                title={`${cardWord("patch_mode")} (T)`}
                onClick={() => desk.togglePatching()}
              >
                <Icon name="link-2" /> {cardWord("patch_mode")}
              </button>
              <button
                type="button"
                onClick={() => {
                  desk.box.value = { kind: "new" };
                }}
              >
                <Icon name="plus" /> {cardWord("group_new")}
              </button>
            </>
          )}
        </header>
        <PatchBar />
        {groups.length === 0 && (
          <p class="dim panel-none">{wanted ? box("filter_none", { filter }) : cardWord("groups_none")}</p>
        )}
        {patches.map((patch) => (
          <PatchFrame
            key={patch.id}
            patch={patch}
            groups={groups.filter((group) => patch.groups.includes(group.id))}
          />
        ))}
        <div class="radio-grid">
          {groups
            .filter((group) => !patched.has(group.id))
            .map((group) => (
              <RadioGroup key={group.id} group={group} />
            ))}
        </div>
      </section>
      <SpurtSearch />
    </div>
  );
}

function PatchFrame({ patch, groups }: { patch: Patch; groups: readonly Group[] }) {
  const model = useModel();
  if (groups.length === 0) return null;
  return (
    <section class="patch-frame" aria-label={cardWord("in_patch", { name: patch.name })}>
      <header>
        <Icon name="link-2" /> <strong>{patch.name}</strong>
        <span class="dim">{box("patch_of", { n: patch.groups.length, name: patch.createdBy })}</span>
        <span class="spring" />
        {model.may("group.manage") && (
          <button type="button" class="quiet" onClick={() => void model.desk.endPatch(patch)}>
            <Icon name="unlink" /> {box("patch_end")}
          </button>
        )}
      </header>
      <div class="radio-grid">
        {groups.map((group) => (
          <RadioGroup key={group.id} group={group} />
        ))}
      </div>
    </section>
  );
}

function RadioGroup({ group }: { group: Group }) {
  const { desk } = useModel();
  const { talk } = desk;
  const muted = isMuted(talk.volumes.value, group.id, serverTime());
  const left = talk.tuning.value.left.includes(group.id);
  const selected = desk.selected.value.includes(group.id);
  return (
    <div class="radio-group">
      <GroupCard group={group} large />
      <div class="radio-group-tools">
        <GroupVolume group={group} />
        <button
          type="button"
          class="quiet icon-button"
          aria-pressed={muted}
          disabled={selected}
          aria-label={box(muted ? "unmute_of" : "mute_of", { name: group.name })}
          title={
            selected ? box("selected_unmuted") : box(muted ? "unmute_of" : "mute_of", { name: group.name })
          }
          onClick={() => desk.mute(group.id, null)}
        >
          <Icon name={muted ? "volume-x" : "volume-2"} />
        </button>
        <button
          type="button"
          class="quiet icon-button"
          aria-pressed={!left}
          aria-label={box("listen_of", { name: group.name })}
          title={box("listen_of", { name: group.name })}
          onClick={() => talk.change((tuning) => listen(tuning, group.id, left))}
        >
          <Icon name={left ? "ear-off" : "ear"} />
        </button>
      </div>
    </div>
  );
}
