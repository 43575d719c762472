/** Words of talk groups, alarms and recordings on every page of the console. */
import { translator } from "../language.ts";

const zh = {
  // groups
  groups: "对讲组",
  patched: "{name} 已互通：{groups}",
  patch_ended: "互通 {name} 已结束",
  undo: "撤销（{n} 秒）",
  cancel: "取消",
  muted: "{name} 已静音",
  unmuted: "{name} 已恢复收听",
  mute_selected: "选中的组不能静音，请先取消选择",
  // talk bar
  talk_bar: "对讲",
  target: "发话到",
  target_multi: "多选 {n} 组，同时发话",
  target_call: "单呼中，发话到",
  target_none: "未选组：点组卡片或按 1–9",
  all_call: "全呼",
  all_call_armed: "再按住发话（{n}）",
  all_call_hint: "向所有人讲话：先按一次解除保险，3 秒内再按住发话",
  talk_button: "按住讲话",
  off_duty: "尚未开始值班",
  off_duty_hint: "现在听不到，也讲不了",
  talk_server_lost: "失联：现在讲不了",
  path_down: "话音未通：现在讲不了",
  talk_wait: "正在自动重连",
  ready: "待发话",
  ready_hint: "按住 F8 讲话，松开即停",
  keep_holding: "请按住，轮到时自动接通",
  waits_for: "正在讲话：{name}。请按住等候，或松开后按 Shift+F8 强插",
  limit_near: "快到时限，请尽快讲完",
  bus_selected: "选中组音量",
  bus_unselected: "未选组音量",
  recall: "回放",
  recall_hint: "即时回放上一段，再按再往前一段",
  recall_stop: "停止回放",
  recall_none: "还没有录音",
  recall_no_older: "没有更早的录音",
  devices: "声音设备",
  shift_start: "开始值班",
  shift_starting: "正在启用…",
  shift_first: "请先点“开始值班”",
  sound_blocked: "浏览器阻止了声音：现在听不到任何人",
  sound_unblock: "点这里开启声音",
  mic_denied: "话筒被拒绝：讲话没有人能听到。点地址栏左侧的图标，允许使用话筒。",
  mic_none: "没有找到话筒：讲话没有人能听到。请接上话筒或耳麦。",
  mic_busy: "话筒被别的程序占用：讲话没有人能听到。请关闭占用它的程序。",
  mic_insecure: "不是安全连接，浏览器不给话筒。请用 https 地址打开。",
  mic_unsupported: "这个浏览器不支持话筒。请换用 Chrome 或 Edge。",
  mic_failed: "话筒打不开：讲话没有人能听到。请检查系统的声音设置。",
  again: "重试",
  // right panel
  side: "告警与通话记录",
  alarms_none: "没有待处置的告警",
  callbacks: "回呼请求",
  callbacks_n: "回呼 {n}",
  true_at: "截至 {time}",
  play: "播放 {name} 的讲话",
  pause: "暂停",
  play_failed: "放不了这段录音：文件还没写好，或已被清除",
  // calls
  call_full: "双工单呼",
  call_half: "半双工单呼",
  // dangerous acts
  // what failed
  act_failed: "{what}失败：{reason}。{next}",
  act_alarm: "处置告警",
  act_callback: "处理回呼",
  act_patch: "互通",
  act_patch_end: "结束互通",
  act_patch_mute: "暂离互通",
  act_call: "呼叫",
  act_answer: "应答",
  act_hang_up: "挂断",
} as const;

export type RadioKey = keyof typeof zh;

export const radioStrings = zh;
export const radio = translator("radio", zh);
