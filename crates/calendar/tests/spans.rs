//! Every row of the time span vectors.

use calendar::TimeSpan;

#[test]
fn every_span_of_the_vectors_is_read_as_systemd_reads_it_or_else_as_the_stock_server_does() {
    let mut rows = 0;
    for row in
        csv::Reader::from_path(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/timespan.csv")).unwrap().records()
    {
        let row = row.unwrap();
        let (text, micros, nanos) = (&row[0], &row[1], &row[2]);
        let want = match (micros, nanos) {
            ("invalid", "invalid") => None,
            ("infinity", _) => Some(u128::MAX),
            ("invalid", nanos) => Some(nanos.parse::<u128>().unwrap()),
            (micros, _) => Some(micros.parse::<u128>().unwrap() * 1_000),
        };
        let got = text.parse::<TimeSpan>().ok().map(|span| match span {
            TimeSpan::Of(duration) => duration.as_nanos(),
            TimeSpan::Infinite => u128::MAX,
        });
        assert_eq!(got, want, "{text:?}");
        rows += 1;
    }
    assert_eq!(rows, 61);
}
