use super::super::tests::{Ear, source};

#[test]
fn lines_are_samples_of_named_columns() {
    let text = r##"
decoder = "csv"
topic = "c/{device}"
[csv]
columns = ["t", "id", "temp", "state"]
separator = ";"
timestamp = { column = "t", unit = "s" }
device = "id"
bad = ["#VALUE!", -999]
"##;
    let mut ear = Ear::new(text, &["temp", "state"]);
    let payload = "1775877613;冷柜-1;-18.5;\"run; ok\"\r\n1775877614;冷柜-2;#VALUE!;\n\n1;冷柜-1;-999;x\n2;y\n";
    assert_eq!(
        ear.hear("c/gw", payload),
        [
            "冷柜-1 @-2 state=run; ok temp=-18.5",
            "冷柜-2 @-1 temp!",
            "冷柜-1 @now state=x temp!",
            "time",
            "undecodable",
        ]
    );
}

#[test]
fn without_columns_the_first_line_names_them() {
    let mut ear = Ear::new("decoder = \"csv\"\ntopic = \"c/{device}\"", &["a", "b"]);
    assert_eq!(
        ear.hear("c/d", "a,b\n1,nan\n2,true\n"),
        ["d @now a=1 b!", "d @now a=2 b=true", "number"]
    );
    assert_eq!(ear.hear("c/d", [b'a', 0xff]), ["invalid-utf8"]);
    let found = source("decoder = \"csv\"\ntopic = \"c\"\n[csv]\nseparator = \",,\"");
    assert!(found.expect_err("refused")[0].contains("not one character"));
}
