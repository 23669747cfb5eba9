//! Keys of price plans.

use super::{Key, Kind, key, words};
use crate::engine::rating::{AddonKind, Bucket, Rounding};
use crate::engine::types::ledger::Aggregation;
use crate::engine::types::period::PeriodUnit;

const AMOUNT: Kind = Kind::Decimal(false);

/// The whole file.
pub(super) const FILE: &[Key] = &[
    key("schema", Kind::Whole(1, 1), "Version of the format", "格式版本"),
    key("plan", Kind::Table(PLAN), "The plan", "资费方案").required(),
    key("meter", Kind::Tables(METER), "What the supplier counts", "供应商的计量项"),
    key("line", Kind::Tables(LINE), "A charge", "收费项"),
    key("adjust", Kind::Tables(ADJUST), "What changes the sum, in order", "按顺序的金额调整"),
    key(
        "addon",
        Kind::Tables(ADDON),
        "A function: included, extra or unavailable",
        "附加功能：包含、另收费或不可用",
    ),
    key("one_off", Kind::Tables(ONE_OFF), "What is paid once", "一次性费用"),
];

const PLAN: &[Key] = &[
    key("id", Kind::Text, "Id, as bills name it", "标识，账单中使用").required(),
    key("version", Kind::Text, "Version of the plan", "方案版本"),
    key("currency", Kind::Text, "ISO 4217 code, e.g. CNY", "ISO 4217 货币代码，例如 CNY")
        .required(),
    key("minor_units", Kind::Whole(0, 6), "Decimal places of every amount", "金额的小数位数"),
    key(
        "rounding",
        Kind::Words(words::<Rounding>),
        "What happens to half a minor unit",
        "半个最小单位的舍入方式",
    ),
    key("period", Kind::Table(PERIOD), "Billing period", "计费周期"),
    key("close", Kind::Table(CLOSE), "When a period is closed", "周期何时结账"),
    key(
        "term",
        Kind::Table(TERM),
        "How long one is bound, and how one gets out",
        "合同期限与退出条件",
    ),
];

const PERIOD: &[Key] = &[
    key("unit", Kind::Words(words::<PeriodUnit>), "Length", "周期长度"),
    key(
        "anchor_day",
        Kind::Whole(1, 31),
        "Day of the month on which a period begins",
        "周期起始日",
    ),
    key(
        "timezone",
        Kind::Text,
        "IANA name of the zone in which days begin",
        "日界所用时区（IANA 名称）",
    )
    .required(),
];

const CLOSE: &[Key] = &[
    key("cron", Kind::Text, "When to look for overdue periods", "检查到期周期的时间"),
    key("grace", Kind::Duration, "How long late rows are waited for", "等待迟到记录的时间"),
];

const TERM: &[Key] = &[
    key("commitment", Kind::Text, "What one is bound to", "承诺内容"),
    key("ends", Kind::Date, "Last day of the term", "合同期末日"),
    key("notice_days", Kind::Whole(0, 4_294_967_295), "Days of notice", "提前通知天数"),
    key("renewal", Kind::Text, "What happens at the end", "到期处理"),
    key(
        "max_price_rise_percent",
        AMOUNT,
        "Greatest rise at renewal, percent",
        "续约时最大涨幅（%）",
    ),
    key("data_owner", Kind::Text, "Whose the data are", "数据归属"),
    key("export", Kind::Text, "How they come out", "数据导出方式"),
    key("exit_fee", AMOUNT, "Money for leaving", "退出费用"),
    key("upgrade_to", Kind::Text, "Plan that one may move up to", "可升级到的方案"),
];

const METER: &[Key] = &[
    key("id", Kind::Text, "Name in the usage", "用量中的名称").required(),
    key("agg", Kind::Words(words::<Aggregation>), "How movements become a quantity", "聚合方式")
        .required(),
    key("bucket", Kind::Duration, "Length of the buckets of `max`", "max 聚合的时间桶"),
];

const LINE: &[Key] = &[
    key("id", Kind::Text, "Id on the bill", "账单上的标识").required(),
    key("class", Kind::Text, "Class that adjustments name", "供调整引用的类别"),
    key(
        "kind",
        Kind::Named(&["fixed", "per_unit", "package", "graduated", "volume", "stairstep"]),
        "How the amount comes about",
        "计价方式",
    )
    .required(),
    key("price", AMOUNT, "Money a period (fixed) or a package", "每周期（fixed）或每包的价格"),
    key("meter", Kind::Text, "Meter that is charged", "计费的计量项"),
    key("quantity", Kind::Text, "Quantity that is charged", "计费的数量"),
    key("unit", AMOUNT, "Money a unit (per_unit)", "单价（per_unit）"),
    key("included", AMOUNT, "Units that cost nothing", "免费数量"),
    key(
        "prorate",
        Kind::Named(&["day"]),
        "Units that were there for some days only are charged by the day",
        "按日折算",
    ),
    key("divide_by", Kind::Named(&["days_in_period"]), "What the product is divided by", "除数"),
    key("size", AMOUNT, "Units in a package", "每包数量"),
    key(
        "tiers",
        Kind::Tables(TIER),
        "Tiers, ascending, the last one open",
        "阶梯，递增，最后一级不封顶",
    ),
];

const TIER: &[Key] = &[
    key("up_to", AMOUNT, "Last unit of the tier", "本级上限"),
    key("unit", AMOUNT, "Money a unit", "单价").required(),
    key("flat", AMOUNT, "Money for reaching the tier", "进入本级的固定费用"),
];

const ADJUST: &[Key] = &[
    key("id", Kind::Text, "Id on the bill", "账单上的标识").required(),
    key("classes", Kind::List(&Kind::Text), "Classes whose sum it changes", "所调整的类别")
        .required(),
    key("kind", Kind::Named(&["percent", "cap", "minimum", "credit"]), "What it does", "调整方式")
        .required(),
    key(
        "percent",
        Kind::Decimal(true),
        "Added percentage; negative for a discount",
        "百分比；折扣为负",
    ),
    key("amount", AMOUNT, "Money of cap, minimum and credit", "封顶、最低消费或抵扣金额"),
];

const ADDON: &[Key] = &[
    key("id", Kind::Text, "Name of the function", "功能名称").required(),
    key(
        "kind",
        Kind::Words(words::<AddonKind>),
        "Included, extra or unavailable",
        "包含、另收费或不可用",
    )
    .required(),
    key("price", AMOUNT, "Money, of an extra", "价格（另收费时）"),
    key("per", Kind::Text, "What the price is for, e.g. month", "价格单位，例如 month"),
];

const ONE_OFF: &[Key] = &[
    key("id", Kind::Text, "Name", "名称").required(),
    key("amount", AMOUNT, "Money; without it unknown, not free", "金额；缺省为未知，而非免费"),
    key("bucket", Kind::Words(words::<Bucket>), "What kind of cost it is", "费用类型").required(),
    key("source", Kind::Text, "Where the number comes from", "数字来源"),
];
