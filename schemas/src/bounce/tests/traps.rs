//! Texts that fool a naive classifier.

use super::super::codes::{Codes, Enhanced, scan};
use super::super::{HEAD_BYTES, IN_DOUBT, Table};
use super::BounceClass::{self, *};
use super::class;

const TRAPS: &[(BounceClass, &str)] = &[
    // codes that contradict each other or the words
    (Transient, "550 4.4.7 QUEUE.Expired; message expired after 48 hours"),
    (Transient, "550 5.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages"),
    (Transient, "554 5.4.7 [internal] message timeout (last transfail: 454 4.4.4 [internal] no MX or A for domain)"),
    (HardRecipient, "550 5.4.1 Recipient address rejected: Access denied"),
    (Transient, "550 5.4.1 no answer from host"),
    (HardRecipient, "550 5.1.0 user unknown"),
    (Undetermined, "550 5.1.0 something else"),
    (PolicySender, "550 5.1.0 sender rejected"),
    (PolicySender, "550 5.1.7 bad syntax"),
    (PolicySender, "550 5.1.8 user unknown"),
    (BlockContent, "554 5.7.1 rejected: spam content"),
    (PolicySender, "550 5.7.26 not accepted"),
    (HardRecipient, "550 5.5.0 Requested action not taken: mailbox unavailable"),
    (Transient, "450 Requested mail action not taken: mailbox unavailable"),
    // addresses and versions are no codes
    (Undetermined, "rejected by 5.1.1.1"),
    (Undetermined, "rejected by [10.5.1.1]"),
    (Undetermined, "rejected by mx (Exim 4.94.2)"),
    (Undetermined, "rejected by mx (Postfix 5.1.1)"),
    (Undetermined, "rejected by v5.1.1"),
    (Undetermined, "rejected by 5.1.1@mx5.1.1.example"),
    (Undetermined, "554 rejected on 5.1.2024"),
    (Undetermined, "rejected, id 35501"),
    // several hops: the first enhanced code counts
    (HardRecipient, "550 5.1.1 unknown here; earlier hop said 451 4.3.0"),
    (Transient, "451 4.3.0 here; earlier hop said 550 5.1.1"),
    (HardRecipient, "250 2.1.5 ok, then 550 5.1.1"),
    // addresses are no evidence
    (HardRecipient, "550 5.1.1 <spam@blocked.example>: unknown"),
    (Undetermined, "550 no-such-user@example.com"),
    (HardRecipient, "550 User (someone@example.com) unknown."),
    // spelling
    (HardRecipient, "550 MAILBOX\r\n NOT   FOUND"),
    (HardRecipient, "550 this user doesn\u{2019}t have a mail account"),
    (HardRecipient, "550-5.1.1 The email account that you tried to reach\r\n550 5.1.1 does not exist"),
    (Undetermined, "550 antispamcloud relay"),
    (Transient, "550-5.2.1 The user you are trying to contact is receiving mail\n550-5.2.1 at a rate that prevents additional messages"),
    (Transient, "550-5.1.1 Your message has been rate\r\n550 5.1.1 limited"),
    (Transient, "550-5.1.1 too many 550 5.1.1 connections from your host"),
    (Transient, "550 5.1.1 Rate\u{2011}limited"),
    (BlockReputation, "550 5.1.1 black\u{2011}listed"),
    (BlockReputation, "550 5.1.1 ＢＬＯＣＫＥＤ ｂｙ our filter"),
    (BlockReputation, "550 5.1.1 b\u{200b}locked"),
    (BlockReputation, "550 5.1.1 message BLOQUÉ"),
    (BlockReputation, "550 5.1.1 message bloque\u{301}"),
    (BlockContent, "550 5.1.1 Ваше сообщение отклонено: СПАМ"),
    (AutoReply, "RÉPONSE AUTOMATIQUE"),
    (HardRecipient, "550 EMPFÄNGER UNBEKANNT"),
    (HardRecipient, "550 ПОЛЬЗОВАТЕЛЬ НЕ НАЙДЕН"),
    // escapes
    (BlockReputation, "550 5.1.1 user unknown%0Ablocked%20by%20spamhaus"),
    (BlockReputation, "550 5.1.1 user unknown - b&#108;ocked"),
    (BlockReputation, "550 5.1.1 user unknown - bloqu%C3%A9"),
    (HardRecipient, "550 5.1.1 <jo%40d.example>: user%20unknown &amp; gone"),
    (HardRecipient, "550 5.1.1 user unknown, see https://help.example/?q=%62%6cocked"),
    // a page that explains the error is not the error, nor is the name in a client's greeting, as logs note it
    (HardRecipient, "550 5.1.1 no such user - see https://support.example/blocked-spam-policy?q=user"),
    (BlockReputation, "550 5.1.1 no such user - blocked, see https://support.example/?q=user"),
    (BlockReputation, "550 5.1.1 rejected, see https://bl.example/blocked?ip=192.0.2.1"),
    (
        HardRecipient,
        "550 5.1.1 User unknown in virtual mailbox table; from=<a@s.example> to=<b@d.example> proto=ESMTP helo=<mail.s.example>",
    ),
    (PolicySender, "550 5.1.1 bad helo: user unknown; proto=ESMTP helo=<mail.s.example>"),
    (PolicySender, "550 5.1.1 user unknown; helo=<mail.s.example"),
    // what is to be tried again, and when
    (HardRecipient, "550 5.1.1 no such user: please check the recipient's address and try again"),
    (HardRecipient, "550 5.1.1 This user no longer works here. Please update your contact list."),
    (HardRecipient, "550 5.1.1 This address is no longer in use, please remove it from your contacts list"),
    (HardRecipient, "550 User unknown. Please update your list of contacts"),
    (HardRecipient, "550 5.1.1 Unknown user; pending deletion"),
    (HardRecipient, "550 5.2.1 The user's mailbox is disabled, account suspended"),
    (HardRecipient, "550 5.1.1 User unknown. Check the spelling and try again."),
    (
        HardRecipient,
        "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup. Try sending the message again.",
    ),
    (HardRecipient, "550 5.1.1 no such user. This is a permanent error, will not retry."),
    (HardRecipient, "550 5.1.1 mail-eopbgr.outbound.mx.example said: user unknown"),
    (Transient, "550 5.1.1 user unknown, try again"),
    (Transient, "550 5.1.1 try again: user unknown"),
    // what Gmail says in other languages
    (
        HardRecipient,
        "Ihre Nachricht wurde nicht an jo@d.example zugestellt, weil die Adresse nicht gefunden wurde oder keine E-Mails empfangen kann.",
    ),
    (HardRecipient, "Adresse introuvable Votre message n'a pas été distribué à jo@d.example, car cette adresse est introuvable."),
    (HardRecipient, "No se ha encontrado la dirección"),
    // a count of the unknown is about the sender, a word for a count beside one of them is not
    (Transient, "550 5.1.1 Maximum invalid recipients exceeded"),
    (Transient, "550 your unknown user rate is above our threshold"),
    (HardRecipient, "550 5.1.1 User unknown; maximum delivery attempts: 1, high priority"),
    (HardRecipient, "550 5.1.1 no such user, retry count 3"),
    (HardRecipient, "The following addresses had permanent fatal errors: <jo@d.example> (reason: 550 5.1.1 Invalid recipients)"),
    (HardRecipient, "The following addresses had permanent fatal errors: <jo@d.example> (reason: 550 5.1.1 No such users here)"),
    (HardRecipient, "550 5.1.1 <max>: no such users here"),
    (HardRecipient, "550 5.1.1 Max Mueller: rejected recipients: user unknown"),
    (HardRecipient, "550 5.1.1 All recipients rejected: errors: User unknown"),
    (HardRecipient, "550 5.1.1 Invalid recipients (max 1 shown): jo@d.example"),
    // servers that did not answer
    (Transient, "550 5.1.2 DNS resolution timed out"),
    (Transient, "550 5.1.2 server failure looking up domain"),
    (Transient, "550 5.4.4 connection timed out"),
    // a quota of the sender is none of the mailbox
    (Admin, "550 5.7.1 Email quota exceeded. 5si123 - gsmtp"),
    (MailboxFull, "552 5.2.2 Email quota exceeded"),
    // no evidence about a mailbox
    (Admin, "Variable 'customer.name' is missing"),
    (Admin, "Message limit exceeded"),
    (Undetermined, "NoDevicesSynced"),
    (Undetermined, "550"),
    (Undetermined, ""),
];

#[test]
fn traps_are_seen_through() {
    let wrong: Vec<String> = TRAPS
        .iter()
        .map(|(expected, text)| (expected, text, Table::builtin().classify(text)))
        .filter(|(expected, _, verdict)| verdict.class != **expected)
        .map(|(expected, text, verdict)| format!("{text:?}: {} by {}, expected {expected}", verdict.class, verdict.rule))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_route_that_fails_is_no_domain_that_is_gone() {
    assert_eq!(class("550 5.4.4 [internal] no mx: lookup timeout"), Transient);
    let verdict = Table::builtin().classify("550 5.4.4 unable to route");
    assert!(verdict.class == HardDomain && verdict.confidence < 80, "{verdict:?}");
}

#[test]
fn an_ambiguous_mailbox_unavailable_has_low_confidence() {
    assert_eq!(Table::builtin().classify("550 5.5.0 Requested action not taken: mailbox unavailable").confidence, 60);
}

#[test]
fn a_code_whose_words_no_rule_knows_is_too_little_to_delete_somebody() {
    for text in ["550 5.1.1", "550 5.1.1 our own wording of something", "550 5.2.1 whatever this server means"] {
        let verdict = Table::builtin().classify(text);
        assert!(verdict.class == HardRecipient && verdict.confidence < 80, "{text}: {verdict:?}");
    }
    assert!(Table::builtin().classify("550 5.1.1 <x@y.example>: User unknown").confidence >= 80);
}

#[test]
fn a_domain_code_whose_words_no_rule_knows_is_too_little_too() {
    for text in ["550 5.1.2", "550 5.1.2 our own wording of something", "550 hostname... Host unknown", "lookup gone.example: no such host"]
    {
        let verdict = Table::builtin().classify(text);
        assert!(verdict.class == HardDomain && verdict.confidence < 80, "{text}: {verdict:?}");
    }
    assert!(Table::builtin().classify("550 5.1.2 <x@gone.example>... Host unknown").confidence >= 80);
}

/// Of the sender, its greeting, its host and its name in the DNS, in the words for a recipient.
const OF_OUR_SIDE: &[&str] = &[
    "host mx.example.com[203.0.113.4] refused to talk to me: 501 5.5.4 Invalid domain name",
    "501 5.5.4 Invalid domain name [AM6EUR05FT011.eop-eur05.prod.protection.outlook.com]",
    "5.1.0 - Unknown address error 501-'5.5.4 Invalid domain name' (delivery attempts: 0)",
    "5.1.0 - Unknown address error 554-'sender domain not found' (delivery attempts: 0)",
    "517-Domain does not exist: shop.example.\r\n517 Invalid domain, see <URL:ftp://ftp.isi.edu/in-notes/rfc1035.txt>",
    "550-5.5.0 Invalid domain, see\r\n550 5.5.0 <URL:http://mx.example/rfc1035.html>",
    "550-Sorry, your server 198.51.100.7 is an unknown host.\r\n550 Please see http://mx.example/why?ip=198.51.100.7",
    "550-Verification failed for <b@shop.example>\r\n550-Unrouteable address\r\n550 Sender verify failed",
    "504 5.5.2 <mail>: unknown host",
    "550 unknown host [198.51.100.7]",
    "550 host not found [198.51.100.7]",
    "550 REJECTED: you claim to be an unknown host",
    "550 Message from unknown domain rejected",
    "550 rDNS of 198.51.100.7: unknown host",
    "550 7.100.51.198.in-addr.arpa: domain does not exist",
    "550 Sending host returned NXDOMAIN",
    "550 5.1.2 Client host not found",
    "550 cannot find MX for your domain shop.example, domain not found",
    "550 5.1.1 mailfrom not a known user",
    "550 <b@shop.example> invalid domain name in from address",
    "554 Mail rejected: unknown user in the From line",
    "MailMarshal: 550 Rule imposed mailbox access for joe@example.com refused: unknown user in From",
    "550 Odesílatel: uzivatel neexistuje",
    "550 your account has been cancelled",
    "550 auth: no such username",
    "'from' parameter is not a valid address. please check documentation",
    "The 'From' number +15550100 is not a valid phone number, shortcode, or alphanumeric sender ID.",
];

#[test]
fn what_is_said_of_our_side_is_not_hard() {
    let verdicts = OF_OUR_SIDE.iter().map(|text| (text, Table::builtin().classify(text)));
    let wrong: Vec<_> = verdicts.filter(|(_, verdict)| verdict.class.is_hard()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn who_reached_no_server_does_not_know_whether_the_domain_is_gone() {
    for text in [
        "5.1.2 - Bad destination host 'DNS Soft Error looking up example.com (MX) while asking 10.1.1.1. Error was: SERVFAIL'",
        "5.1.2 (bad destination system: no answer from nameserver)",
        "<joe@example.com>: host mx.example.com[192.0.2.1] said: 550 5.1.2 Network unreachable (in reply to RCPT TO command)",
        "550 5.1.2 connect to mx.example.com[192.0.2.1]:25: Host is down",
        "554 5.4.4 [internal] Host not found: all nameservers failed",
        "550 Host unknown (Name server: mx.example.com: server failed)",
        "550 Domain not found: connection to nameserver timed out",
    ] {
        assert_eq!(class(text), Transient, "{text}");
    }
}

#[test]
fn channel_keeps_vocabularies_apart() {
    let table = Table::builtin();
    assert_eq!(table.classify_for("push", "NotRegistered").class, HardRecipient);
    assert_eq!(table.classify_for("Push", "Unavailable").class, Transient);
    assert_eq!(table.classify_for("email", "NotRegistered").class, Undetermined);
    assert_eq!(table.classify_for("sms", "Twilio Error 30005: Unknown destination handset").class, HardRecipient);
    assert_eq!(table.classify_for("sms", "The 'To' number +15550100 is not a valid phone number.").class, HardRecipient);
    assert_eq!(table.classify_for("sms", "The 'From' number +15550100 is not a valid phone number.").class, PolicySender);
    assert_eq!(table.classify_for("fax", "Twilio Error 30005: Unknown destination handset").class, Undetermined);
    assert_eq!(table.classify_for("slack", "channel_not_found").class, Admin);
    // Words that two channels share mean the mailbox unless the channel says otherwise.
    assert_eq!(table.classify_for("push", "QUOTA_EXCEEDED").class, Transient);
    assert_eq!(table.classify("quota exceeded").class, MailboxFull);
    assert_eq!(table.classify_for("slack", "user_not_found").class, Admin);
    assert_eq!(table.classify("550 user not found").class, HardRecipient);
    assert_eq!(table.classify("NotRegistered").class, HardRecipient);
}

#[test]
fn only_the_head_is_read_and_a_hard_verdict_on_it_stays_grey() {
    let hops = "550 5.4.1 [2001:db8::1] said: Recipient address rejected: Access denied; ".repeat(200);
    assert!(hops.len() > HEAD_BYTES);
    let verdict = Table::builtin().classify(&hops);
    assert_eq!((verdict.class, verdict.confidence), (HardRecipient, IN_DOUBT));
    let far = format!("{}550 5.1.1 user unknown", "x ".repeat(HEAD_BYTES));
    assert_eq!(class(&far), Undetermined);
    let megabytes = "é".repeat(3 << 20);
    assert_eq!(class(&megabytes), Undetermined);
}

#[test]
fn the_first_code_of_each_kind_is_read() {
    let enhanced = |class, subject, detail| Some(Enhanced { class, subject, detail });
    assert_eq!(scan(b"550-5.7.1 x"), Codes { enhanced: enhanced(5, 7, 1), basic: Some(550) });
    assert_eq!(scan(b"(#5.1.1)"), Codes { enhanced: enhanced(5, 1, 1), basic: None });
    assert_eq!(scan(b"4.7.650."), Codes { enhanced: enhanced(4, 7, 650), basic: None });
    assert_eq!(scan(b" 605 x"), Codes { enhanced: None, basic: Some(605) });
    assert_eq!(scan(b"id 605 x"), Codes::default());
    assert_eq!(scan(b"5.1.1234 5.8.1 5.1 5..1 (554.30)"), Codes::default());
}
