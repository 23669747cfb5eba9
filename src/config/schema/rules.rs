//! Keys of rule files and of `devices.toml`.

use super::{Key, Kind, key, words};
use crate::engine::escalate::{PriorityChange, Stop};
use crate::engine::register::UnknownDevices;
use crate::engine::types::code::CodeReset;
use crate::engine::types::period::PeriodUnit;
use crate::engine::types::rule::{Mode, OnRemove, Per};
use crate::engine::types::severity::Severity;

const SEVERITY: Kind = Kind::Words(words::<Severity>);
const TEXTS: Kind = Kind::List(&Kind::Text);
const PARAMS: Kind = Kind::Open(&[], &Kind::Scalar);

/// The whole file.
pub(super) const FILE: &[Key] = &[
    key("schema", Kind::Whole(1, 1), "Version of the format", "格式版本"),
    key(
        "defaults",
        Kind::Table(DEFAULTS),
        "Keys for all rules of this file; a rule's own key wins",
        "本文件所有规则的默认键；规则自己的键优先",
    ),
    key("rule", Kind::Tables(RULE), "A fault rule", "故障规则"),
    key("ladder", Kind::Tables(LADDER), "An escalation ladder", "升级阶梯"),
    key(
        "codes",
        Kind::Tables(CODES),
        "Fault codes of one vendor and model",
        "某厂家某型号的故障代码表",
    ),
    key(
        "inhibit",
        Kind::Tables(INHIBIT),
        "While a source alarm is raised, its targets open no tickets",
        "源报警存在期间，目标报警不开工单",
    ),
    key(
        "maintenance",
        Kind::Tables(MAINTENANCE),
        "A time in which devices open no tickets",
        "维护窗口：期间设备不开工单",
    ),
    key("device", Kind::Tables(DEVICE), "A registered device", "已登记的设备"),
    key("class", Kind::Tables(CLASS), "Parameters of all devices of a class", "某类设备的公共参数"),
    key("budget", Kind::Tables(BUDGET), "What may be spent", "支出预算"),
    key(
        "quantities",
        Kind::Open(&[], &Kind::Decimal(false)),
        "What the plan charges and nobody meters: seats, sites",
        "资费方案计费而网关不计量的数量：席位、站点",
    ),
    key(
        "unknown_devices",
        Kind::Words(words::<UnknownDevices>),
        "What becomes of devices that are not registered",
        "未登记设备的处理方式",
    ),
    key(
        "test",
        Kind::Tables(TEST),
        "A test, run by `faultgate test`",
        "由 faultgate test 运行的测试",
    ),
];

const BUDGET: &[Key] = &[
    key("id", Kind::Text, "Id in notices and rows", "通知与账本中的标识").required(),
    key(
        "scope",
        Kind::Table(SCOPE),
        "Whose spending; globs, all by default",
        "约束范围；支持通配，缺省为全部",
    ),
    key("amount", Kind::Decimal(false), "Money a period", "每周期金额").required(),
    key("period", Kind::Words(words::<PeriodUnit>), "Length of the periods", "周期长度"),
    key("thresholds", Kind::Table(THRESHOLDS), "Where the rungs begin, percent", "各档位起点（%）"),
    key(
        "emergency_reserve_percent",
        Kind::Whole(0, 100),
        "Part of the amount for critical faults only",
        "仅供紧急故障使用的应急比例（%）",
    ),
    key(
        "hold_max",
        Kind::Duration,
        "How long an alarm is held before a human is told",
        "暂缓多久后通知人工",
    ),
    key(
        "max_monthly_cost_delta",
        Kind::Decimal(false),
        "Greatest rise of a month's cost that a change of rules may bring",
        "规则变更允许带来的月费用增加上限",
    ),
];

const SCOPE: &[Key] = &[
    key("gateway", Kind::Text, "Gateway, by its id", "网关标识"),
    key("customer", Kind::Text, "Customer", "客户"),
    key("site", Kind::Text, "Site", "站点"),
    key("region", Kind::Text, "Region", "区域"),
    key("device_class", Kind::Text, "Class of the device", "设备类别"),
    key("rule", Kind::Text, "Rule", "规则"),
];

const THRESHOLDS: &[Key] = &[
    key("amber", Kind::Whole(0, 100), "Green ends", "绿档上限"),
    key("red", Kind::Whole(0, 100), "Amber ends", "黄档上限"),
];

macro_rules! shared_keys {
    ($($more:expr),* $(,)?) => {
        &[
            $($more,)*
            key("match", MATCH, "Which devices; globs, a missing key matches any", "适用的设备；支持通配，缺省为任意"),
            key("clear_when", Kind::Text, "CEL condition of the return (dead-band); default: not `when`", "恢复条件（死区），CEL；缺省为 when 不成立"),
            key("on_delay", Kind::Duration, "How long `when` must hold before the alarm is raised", "条件持续多久才报警"),
            key("off_delay", Kind::Duration, "How long the return must hold", "恢复条件持续多久才恢复"),
            key("occurrences", Kind::Whole(1, 1_000), "Raise only after so many rising edges", "累计多少次触发才报警"),
            key("occurrences_within", Kind::Duration, "Within which time", "累计触发的时间范围"),
            key("stale_after", Kind::Duration, "A metric older than this makes the condition unknown; 0s for never", "数据多久未更新视为未知；0s 表示永不"),
            key("severity", SEVERITY, "How bad it is", "严重程度"),
            key("safety", Kind::Bool, "Gas, fire, shock, overpressure, flood: never held back", "安全类（燃气、火、电击、超压、水淹）：从不压制"),
            key("latch", Kind::Bool, "Stays raised after the return until an operator resets it", "恢复后仍保持，直到人工复位"),
            key("flapping", Kind::Table(FLAPPING), "When it changes too often and counts as raised", "频繁抖动的判定；抖动期间视为持续报警"),
            key("key", TEXTS, "Metrics whose value is part of the alarm's identity", "其取值属于报警身份的指标"),
            key("code_table", Kind::Text, "Table of fault codes that says severity and texts", "给出严重程度与文本的故障代码表"),
            key("params", PARAMS, "Typed constants, read as `params.NAME`; a device or class may override them", "常量，以 params.名称 引用；设备或类可覆盖"),
            key("mode", Kind::Words(words::<Mode>), "live, shadow (opens nothing) or off", "运行、影子（不开工单）或关闭"),
            key("on_remove", Kind::Words(words::<OnRemove>), "What happens to open tickets when the rule disappears", "规则被删除时未结工单的处理"),
            key("title", Kind::Bilingual, "Subject of the ticket, a template", "工单标题模板"),
            key("advice", Kind::Bilingual, "What to do about it, a template", "处理建议模板"),
            key("ticket", Kind::Table(TICKET), "Where its tickets go", "工单去向"),
        ]
    };
}

const DEFAULTS: &[Key] = shared_keys![key("when", Kind::Text, "CEL condition", "触发条件，CEL"),];

const RULE: &[Key] = shared_keys![
    key(
        "id",
        Kind::Pattern("^[a-z0-9-]{1,64}$"),
        "Identity of the rule, unique over all files",
        "规则标识，在所有文件中唯一"
    )
    .required(),
    key(
        "when",
        Kind::Text,
        "CEL condition, e.g. \"temp_c > params.high\"",
        "触发条件，CEL，例如 \"temp_c > params.high\""
    ),
    key(
        "renamed_from",
        Kind::Text,
        "Former id, whose alarms and tickets go on",
        "曾用标识，其报警与工单继续有效"
    ),
];

/// Attributes of devices, with `labels.NAME`.
const MATCH: Kind = Kind::Attributes(&[
    key("device", Kind::Text, "Id of the device", "设备标识"),
    key("class", Kind::Text, "Class of the device", "设备类别"),
    key("site", Kind::Text, "Site", "站点"),
    key("region", Kind::Text, "Region", "区域"),
    key("customer", Kind::Text, "Customer", "客户"),
    key("labels", Kind::Open(&[], &Kind::Text), "Labels", "标签"),
]);

const TICKET: &[Key] = &[
    key("per", Kind::Words(words::<Per>), "What one ticket collects", "一张工单汇总的范围"),
    key(
        "group_wait",
        Kind::Duration,
        "How long the first alarm of a group waits for others; default 30s for site and rule, else 0s",
        "同组首个报警等待其他报警的时间；site 与 rule 默认 30s，其余 0s",
    ),
    key(
        "group_interval",
        Kind::Duration,
        "Later members are told in one comment at most this often; default 5m",
        "后续成员合并为一条备注的最小间隔；默认 5m",
    ),
    key(
        "reopen_within",
        Kind::Duration,
        "A new episode reopens a ticket that ended this recently; 0s for never",
        "此时间内结束的工单会被重新打开；0s 表示从不",
    ),
    key(
        "verify_within",
        Kind::Duration,
        "A ticket that is resolved upstream while its fault stands is opened again after this; default 30m, 0s for never",
        "工单在上游被解决而故障仍在时，过此时间重新打开；默认 30m，0s 表示从不",
    ),
    key(
        "recall_within",
        Kind::Duration,
        "A new ticket is marked as a repeat visit if the last one of the fault ended this recently; default 30d, 0s for never",
        "同一故障的上一张工单在此时间内结束时，新工单标为重复上门；默认 30d，0s 表示从不",
    ),
    key("upstream", Kind::Text, "Name of an [[upstream]]", "上游系统 [[upstream]] 的名称"),
    key("queue", Kind::Text, "Queue of the upstream", "上游队列"),
    key("ladder", Kind::Text, "Id of a [[ladder]]", "升级阶梯 [[ladder]] 的标识"),
];

const FLAPPING: &[Key] = &[
    key(
        "low",
        Kind::Number,
        "Stops at this score or below; default 20",
        "低于或等于此分数结束；默认 20",
    ),
    key(
        "high",
        Kind::Number,
        "Starts at this score or above; default 30",
        "高于或等于此分数开始；默认 30",
    ),
    key("enabled", Kind::Bool, "false: never", "false 表示不判定"),
];

const LADDER: &[Key] = &[
    key("id", Kind::Text, "Id, which rules name", "标识，供规则引用").required(),
    key("step", Kind::Tables(STEP), "A step", "步骤"),
];

const STEP: &[Key] = &[
    key("after", Kind::Duration, "When, counted from the raise", "报警后多久执行").required(),
    key(
        "unless",
        Kind::Words(words::<Stop>),
        "State that makes the step needless",
        "达到此状态则不再执行",
    ),
    key("ticket", Kind::Table(STEP_TICKET), "What is done to the ticket", "对工单的操作"),
    key("repeat", Kind::Table(REPEAT), "Taken again while nothing happens", "无人响应时重复"),
];

const STEP_TICKET: &[Key] = &[
    key(
        "priority",
        Kind::Words(words::<PriorityChange>),
        "What becomes of the priority",
        "优先级的变化",
    ),
    key("comment", Kind::Bool, "Whether a comment says so", "是否追加备注"),
    key("assign", Kind::Text, "Whom the ticket is assigned to", "指派给谁"),
];

const REPEAT: &[Key] = &[
    key("every", Kind::Duration, "Time between two of them", "间隔").required(),
    key("times", Kind::Whole(0, 4_294_967_295), "How many more times", "重复次数").required(),
];

const CODES: &[Key] = &[
    key("table", Kind::Text, "Name, which `code_table` refers to", "名称，供 code_table 引用")
        .required(),
    key("source", Kind::Text, "Where the codes are from: manual and page", "出处：手册与页码")
        .required(),
    key("entries", Kind::Tables(CODE), "The codes", "代码"),
];

const CODE: &[Key] = &[
    key("code", Kind::Scalar, "As the device sends it", "设备发送的代码").required(),
    key(
        "class",
        Kind::Text,
        "Class of the fault, e.g. elec.overcurrent",
        "故障类别，例如 elec.overcurrent",
    )
    .required(),
    key("severity", SEVERITY, "How bad it is", "严重程度"),
    key("safety", Kind::Bool, "Never held back", "从不压制"),
    key("reset", Kind::Words(words::<CodeReset>), "How the fault is reset", "复位方式"),
    key("title", Kind::Bilingual, "Subject of the ticket", "工单标题"),
    key("advice", Kind::Bilingual, "What to do about it", "处理建议"),
];

const INHIBIT: &[Key] = &[
    key("source", SIDE, "Alarms that suppress", "起压制作用的报警").required(),
    key("target", SIDE, "Alarms that are suppressed", "被压制的报警").required(),
    key("equal", TEXTS, "Attributes that both must share", "双方必须相同的属性"),
    key("settle", Kind::Duration, "How long targets wait for their source", "目标等待源报警的时间"),
];

const SIDE: Kind = Kind::Attributes(&[
    key("device", Kind::Text, "Id of the device", "设备标识"),
    key("class", Kind::Text, "Class of the device", "设备类别"),
    key("site", Kind::Text, "Site", "站点"),
    key("region", Kind::Text, "Region", "区域"),
    key("customer", Kind::Text, "Customer", "客户"),
    key("rule", Kind::Text, "Id of a rule, a glob", "规则标识，支持通配"),
    key(
        "severity",
        Kind::Either(&[SEVERITY, Kind::List(&SEVERITY)]),
        "One or several severities",
        "一个或多个严重程度",
    ),
    key("labels", Kind::Open(&[], &Kind::Text), "Labels", "标签"),
]);

const MAINTENANCE: &[Key] = &[
    key("match", MATCH, "Which devices; a missing key matches any", "适用的设备；缺省为任意"),
    key(
        "schedule",
        Kind::Table(SCHEDULE),
        "When: `cron` and `duration`, or `from` and `to`",
        "时间：cron 与 duration，或 from 与 to",
    )
    .required(),
    key("reason", Kind::Bilingual, "Why", "原因"),
];

const SCHEDULE: &[Key] = &[
    key(
        "cron",
        Kind::Text,
        "Five fields: minute hour day month weekday",
        "五个字段：分 时 日 月 周",
    ),
    key("duration", Kind::Duration, "How long each one lasts", "每次持续多久"),
    key("timezone", Kind::Text, "IANA name, e.g. Asia/Shanghai", "IANA 时区名，例如 Asia/Shanghai"),
    key("from", Kind::Moment, "Begin", "开始时刻"),
    key("to", Kind::Moment, "End", "结束时刻"),
];

const DEVICE: &[Key] = &[
    key("id", Kind::Text, "As the device reports it", "设备上报的标识").required(),
    key("class", Kind::Text, "Kind of machine", "设备类别"),
    key("site", Kind::Text, "Where it stands", "所在站点"),
    key("region", Kind::Text, "The wider area", "区域"),
    key("customer", Kind::Text, "Whose machine it is", "客户"),
    key("model", Kind::Text, "Model", "型号"),
    key("serial", Kind::Text, "Serial number", "序列号"),
    key("installed_at", Kind::Date, "Day of installation", "安装日期"),
    key("warranty_until", Kind::Date, "Last day of the warranty", "保修截止日期"),
    key("labels", Kind::Open(&[], &Kind::Text), "Free labels", "自定义标签"),
    key(
        "params",
        DEVICE_PARAMS,
        "Constants of rules on this device: for all rules, or below a rule's id",
        "该设备的规则常量：对所有规则，或写在规则标识之下",
    ),
];

const CLASS: &[Key] = &[
    key("id", Kind::Text, "Kind of machine", "设备类别").required(),
    key("params", DEVICE_PARAMS, "Constants of rules on these devices", "此类设备的规则常量"),
];

const DEVICE_PARAMS: Kind =
    Kind::Open(&[], &Kind::Either(&[Kind::Scalar, Kind::Open(&[], &Kind::Scalar)]));

const TEST: &[Key] = &[
    key("name", Kind::Text, "What it shows", "说明").required(),
    key("device", Kind::Table(TEST_DEVICE), "The device that reports", "上报的设备"),
    key("samples", Kind::List(&SAMPLE), "What it reports", "上报的数据"),
    key("until", Kind::Duration, "When the test ends, from its start", "测试结束时间（自开始起）"),
    key(
        "expect",
        Kind::Tables(EXPECT),
        "What must happen, in order, and nothing else",
        "按顺序必须发生的事件，且仅此而已",
    ),
];

const TEST_DEVICE: &[Key] = &[
    key("id", Kind::Text, "Id", "标识"),
    key("class", Kind::Text, "Class", "类别"),
    key("site", Kind::Text, "Site", "站点"),
    key("region", Kind::Text, "Region", "区域"),
    key("customer", Kind::Text, "Customer", "客户"),
    key("labels", Kind::Open(&[], &Kind::Text), "Labels", "标签"),
];

const SAMPLE: Kind = Kind::Open(
    &[key("at", Kind::Duration, "Time from the start of the test", "自测试开始的时间").required()],
    &Kind::Scalar,
);

const EXPECT: &[Key] = &[
    key("at", Kind::Duration, "Time from the start of the test", "自测试开始的时间").required(),
    key("rule", Kind::Text, "The rule", "规则").required(),
    key("event", Kind::Named(&["raised", "returned", "closed"]), "What happens", "事件").required(),
];
